"""One sample: its members, from committed rows and media."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.pack.config import SyncCorrection
from pipeline.pack.correction import frames_to_correct, moved
from pipeline.stage import Row
from pipeline.stages.crawl import strictest
from pipeline.store.files import Files
from pipeline.store.media import get_media, media_path
from pipeline.store.relations import Relations
from pipeline.verdicts.standing import create_standing
from schemas.errors import UserError
from schemas.sample import SAMPLE_SCHEMA, VOCALS, member_suffixes
from schemas.tables import CLIP_TABLES, ROW

MEASURED = tuple(table for table in CLIP_TABLES if table not in ("references", "duplicates"))
_OWN = {field.name for field in ROW}
_LEFT_OUT = {"signature", "thumbnail_sha256", "boxes_sha256", "vocals_sha256", "embedding", "caption_embedding"}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample ready to be written, and what the index says of it."""

    key: str
    members: list[tuple[str, bytes]]
    frames: int
    height: int
    width: int
    identities: list[str]


class KeptRows:
    """The committed rows of some kept clips, read once for all of them."""

    def __init__(self, relations: Relations, keys: list[str]) -> None:
        self._root = relations.files.root
        self._connection = relations.connection
        self._connection.register("kept", pa.table({"id": pa.array(keys, pa.string())}))
        # Ids of whatever belongs to a clip begin with the clip's; "`" comes after every letter of an id.
        near = f"(id >= '{min(keys)}' AND id < '{max(keys)}`')"
        self._rows = {
            table: {
                row["id"]: row for row in self._select(f'SELECT t.* FROM "{table}" t JOIN kept USING (id) WHERE {near}')
            }
            for table in ("clips", "references", *MEASURED)
        }
        self._reviewed = self._corrected(relations)
        wanted = f"""SELECT unnest(chosen) AS id FROM "references" JOIN kept USING (id) WHERE {near}
                     UNION SELECT unnest(speaker_chosen) FROM "references" JOIN kept USING (id) WHERE {near}"""
        self._candidates = {
            row["id"]: row
            for row in self._select(f"SELECT c.* FROM candidates c JOIN ({wanted}) USING (id) WHERE {near}")
        }
        self._identities: dict[str, dict[int, str]] = defaultdict(dict)
        for row in self._select(
            f"""SELECT i.* FROM (SELECT * FROM identities WHERE {near}) i JOIN kept ON kept.id = i.clip_id
                WHERE identity IS NOT NULL ORDER BY i.id"""
        ):
            self._identities[row["clip_id"]][row["track"]] = row["identity"]
        self._places: dict[str, list[Row]] = defaultdict(list)
        for row in self._select(
            f"""SELECT l.* FROM locations l
                WHERE source_id IN (SELECT source_id FROM clips JOIN kept USING (id) WHERE {near}) ORDER BY l.id"""
        ):
            self._places[row["source_id"]].append(row)

    def _corrected(self, relations: Relations) -> dict[str, Row]:
        """Clip -> what stands of reviewers' verdicts; their captions are put in the place of the measured ones."""
        if "verdicts" not in relations.snapshot.sets:
            return {}
        create_standing(relations)
        query = "SELECT id, accepted, bad_sync, caption FROM standing JOIN kept USING (id)"
        found = {row.pop("id"): row for row in self._select(query)}
        for key, said in found.items():
            if said["caption"] is not None:
                words = len(said["caption"].split())
                self._rows["captions"][key] |= {"text": said["caption"], "text_short": None, "word_count": words}
        return found

    def reviewed(self, key: str) -> Row | None:
        """What reviewers said of a clip, for its record; None where nobody said anything that stands."""
        said = self._reviewed.get(key)
        if said is None:
            return None
        return {"accepted": said["accepted"], "bad_sync": said["bad_sync"], "caption": said["caption"] is not None}

    def row(self, table: str, key: str) -> Row:
        """The row of a clip in a clip-level table. Raises UserError where a version without that table measured it."""
        found = self._rows[table].get(key)
        if found is None:
            raise UserError(f"{key} has no row in {table}: give 'humo curate --out {self._root}' first, which makes it")
        return found

    def references(self, key: str, tier: str) -> list[Row]:
        """The chosen candidates, best first; the speaker's in the sync tier."""
        chosen = self._rows["references"][key]["speaker_chosen" if tier == "sync" else "chosen"]
        return [self._candidates[candidate] for candidate in chosen]

    def identities(self, key: str) -> dict[int, str]:
        """Track -> identity."""
        return self._identities[key]

    def licence(self, source_id: str) -> dict[str, str | None]:
        """What binds the use of a source: the strictest licence, and a consent only where every place has one."""
        places = self._places[source_id]
        consents = [place["consent"] for place in places]
        return {
            "licence": strictest([place["licence"] for place in places]),
            "consent": None if None in consents else min(consents, default=None),
        }

    def _select(self, query: str) -> Iterator[Row]:
        cursor = self._connection.execute(query)
        names = [column[0] for column in cursor.description]
        for values in cursor.fetchall():
            yield dict(zip(names, values, strict=True))


def build_sample(files: Files, kept: KeptRows, key: str, tier: str, correction: SyncCorrection) -> Sample:
    """A kept clip with everything that belongs to it. Members are in the order of `member_suffixes`."""
    clip = kept.row("clips", key)
    contents = _contents(files, kept, key, tier, correction)
    read = {suffix: files.read(said) if isinstance(said, str) else said for suffix, said in contents.items()}
    suffixes = member_suffixes(tier, len(kept.references(key, tier)), vocals=VOCALS in contents)
    return Sample(
        key=key,
        members=[(f"{key}{suffix}", read[suffix]) for suffix in suffixes],
        frames=clip["frames"],
        height=clip["height"],
        width=clip["width"],
        identities=sorted(set(kept.identities(key).values())),
    )


def member_sizes(files: Files, kept: KeptRows, key: str, tier: str, correction: SyncCorrection) -> list[int]:
    """Bytes of the members that a sample will have, without reading its pictures, video or sound."""
    contents = _contents(files, kept, key, tier, correction).values()
    return [files.size(said) if isinstance(said, str) else len(said) for said in contents]


def _contents(files: Files, kept: KeptRows, key: str, tier: str, correction: SyncCorrection) -> dict[str, bytes | str]:
    """Suffix -> a member's bytes, or the file of the run that is put into the shard as it is."""
    clip = kept.row("clips", key)
    references = kept.references(key, tier)
    identities = kept.identities(key)
    speaker = kept.row("sync", key)["speaker_track"] if tier == "sync" else None
    late = frames_to_correct(kept.row("sync", key), correction) if tier == "sync" else 0
    boxes = json.loads(get_media(files, "faces", kept.row("faces", key)["boxes_sha256"]))
    contents: dict[str, bytes | str] = {
        ".mp4": media_path("clips", clip["media_sha256"]),
        ".txt": kept.row("captions", key)["text"].encode(),
        ".faces.json": _json(_faces(boxes, identities, speaker)),
        ".json": _json(_record(kept, clip, tier, references, identities, late)),
    }
    if tier == "sync":
        sounds = {".flac": media_path("audio", clip["audio_sha256"])}
        if (vocals := kept.row("vocals", key)["vocals_sha256"]) is not None:
            sounds[VOCALS] = media_path("vocals", vocals)
        contents |= {suffix: moved(files.read(path), late) if late else path for suffix, path in sounds.items()}
    for number, reference in enumerate(references):
        contents[f".ref{number}.png"] = reference["file"]
    return contents


def _faces(boxes: dict[str, Any], identities: dict[int, str], speaker: int | None) -> dict[str, Any]:
    """Per frame: boxes in fractions of the frame, with track, identity, whether that track speaks, interpolated."""
    return {
        "frames": [
            [{**face, "identity": identities.get(face["track"]), "speaker": face["track"] == speaker} for face in frame]
            for frame in boxes["frames"]
        ]
    }


def _record(
    kept: KeptRows, clip: Row, tier: str, references: list[Row], identities: dict[int, str], late: int
) -> dict[str, Any]:
    measurements = {table: kept.row(table, clip["id"]) for table in MEASURED}
    reviewed = kept.reviewed(clip["id"])
    return {
        **({} if reviewed is None else {"reviewed": reviewed}),
        "schema": SAMPLE_SCHEMA,
        "key": clip["id"],
        "tier": tier,
        "source": {name: clip[name] for name in ("source_id", "shot_id", "start_us", "end_us")},
        **kept.licence(clip["source_id"]),
        "clip": {name: clip[name] for name in ("frames", "width", "height", "transform", "media_sha256")},
        "measurements": {table: _measured(row) for table, row in measurements.items()},
        "backends": {
            table: f"{row['backend']} {row['fingerprint']}" for table, row in {"clips": clip, **measurements}.items()
        },
        "sync_offset_before_correction": measurements["sync"]["offset_frames"],
        # Frames by which the packed sound comes earlier than the measured one; as much of it is silence at one end.
        "sync_corrected_by": late,
        "identities": {str(track): identity for track, identity in identities.items()},
        "references": [
            {
                "track": row["track"],
                "clip": row["reference_clip_id"],
                "clip_track": row["reference_track"],
                **{name: row[name] for name in ("frame", "box", "similarity", "differs")},
            }
            for row in references
        ],
    }


def _measured(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in _OWN and name not in _LEFT_OUT}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(_rounded(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
