"""The whole story of a clip: where it came from, every measurement and every rule on the way."""

from collections.abc import Collection
from typing import Any

from pipeline.store.relations import Relations
from pipeline.verdicts.fold import all_verdicts, committed_ids
from schemas.errors import UserError
from schemas.sample import KEY_PATTERN

BY_ID = (
    "clips",
    "quality",
    "duplicates",
    "frames",
    "faces",
    "speech",
    "vocals",
    "sync",
    "captions",
    "looks",
    "references",
    "decisions",
)
BY_CLIP = ("tracks", "identities", "candidates", "sync_tracks", "look_tracks")
_LONG = {"embedding", "caption_embedding", "mouth", "signature"}


def trace(relations: Relations, key: str) -> dict[str, Any]:
    """Table -> rows. Raises UserError for a key that the run does not hold."""
    story = shortened(story_of(relations, key))
    every = all_verdicts(relations.files, relations.snapshot)
    undone = {(row["undoes"], row["reviewer"]) for row in every if row["kind"] == "undo"}
    said = sorted((row for row in every if row["clip_id"] == key), key=lambda row: (row["at_us"], row["id"]))
    heard = committed_ids(relations.files, relations.snapshot)
    shard = story.pop("shard")
    return {**story, "verdicts": verdicts_of(story["clips"][0], said, undone=undone, heard=heard), "shard": shard}


def story_of(relations: Relations, key: str) -> dict[str, Any]:
    """Like `trace`, but with whole values, and without what people said."""
    if not KEY_PATTERN.match(key):
        raise UserError(f"{key!r} is no sample key; keys look like <source>_<start_us>_<end_us>")
    clip = _rows(relations, "clips", "id", key)
    if not clip:
        raise UserError(f"this run has no clip {key}")
    source, shot = clip[0]["source_id"], clip[0]["shot_id"]
    story: dict[str, Any] = {
        "locations": _rows(relations, "locations", "source_id", source),
        "sources": _rows(relations, "sources", "id", source),
        "shots": _rows(relations, "shots", "id", shot),
    }
    story.update({table: _rows(relations, table, "id", key) for table in BY_ID})
    story.update({table: _rows(relations, table, "clip_id", key) for table in BY_CLIP})
    story["shard"] = _shard(relations, key)
    return story


def verdicts_of(
    clip: dict[str, Any], said: list[dict[str, Any]], *, undone: Collection[tuple[str, str]], heard: Collection[str]
) -> list[dict[str, Any]]:
    """What people said of a clip, in the order in which it was said, and whether it stands: see `verdicts.standing`.

    `undone`: verdicts, and who took them back. `heard`: verdicts that the decisions in force know.
    """
    stands, last = {}, {}
    for row in said:
        if (row["id"], row["reviewer"]) in undone:
            stands[row["id"]] = "no: taken back"
        elif row["media_sha256"] != clip["media_sha256"]:
            stands[row["id"]] = "no: it was given on other pixels"
        else:
            stands[row["id"]] = "no: a later word of theirs counts"
            last[_about(row)] = row["id"]
    stands |= dict.fromkeys(last.values(), "yes")
    return [
        {
            **{name: value for name, value in row.items() if value not in (None, "")},
            "stands": stands[row["id"]],
            "in_decisions": row["id"] in heard,
        }
        for row in said
    ]


def _about(verdict: dict[str, Any]) -> tuple[str, str, str]:
    """Of verdicts of which this is the same, the last one counts."""
    facet = "outcome" if verdict["kind"] in ("accept", "reject") else verdict["kind"]
    return facet, verdict["reviewer"], verdict["reference"] or ""


def shortened(story: dict[str, Any]) -> dict[str, Any]:
    """Without what is unknown, and with a word for each list of numbers that tells a reader nothing."""
    return {
        table: [{name: _short(name, value) for name, value in row.items() if value is not None} for row in rows]
        for table, rows in story.items()
    }


def _rows(relations: Relations, table: str, column: str, value: str) -> list[dict[str, Any]]:
    cursor = relations.connection.execute(f'SELECT * FROM "{table}" WHERE "{column}" = ? ORDER BY id', [value])
    names = [description[0] for description in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _short(name: str, value: Any) -> Any:
    if name in _LONG:
        return f"{len(value)} values"
    return round(value, 6) if isinstance(value, float) else value


def _shard(relations: Relations, key: str) -> list[dict[str, Any]]:
    rows = relations.connection.execute(
        'SELECT shard, "offset", bytes, split, tier FROM shard_index WHERE key = ?', [key]
    ).fetchall()
    return [dict(zip(("shard", "offset", "bytes", "split", "tier"), row, strict=True)) for row in rows]
