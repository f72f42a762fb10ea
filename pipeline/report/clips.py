"""Every clip of a run as the report shows it, read in the report's order, some at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.report.words import TOPICS, Topic
from pipeline.stages.quality import STRIP_FRAMES, STRIP_WIDTH_PX
from pipeline.store.media import media_path
from pipeline.store.relations import Relations
from schemas.tables import CLIP_TABLES

Row = dict[str, Any]

READ_AT_ONCE = 5_000
"""Clips that one query reads. Each query passes over the tables once, whatever it picks."""

_MORE_COLUMNS = {
    "quality": ("thumbnail_sha256",),
    "captions": ("text",),
}


@dataclass(frozen=True, kw_only=True)
class Missed:
    """A rule that a clip failed, or that could not be judged and why."""

    tier: str
    rule: str
    unknown: bool
    values: str
    causes: list[str]


@dataclass(frozen=True, kw_only=True)
class Link:
    """Another clip: where it stands in the report's order, and its file and second in words."""

    key: str
    place: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A measurement in words. `value` is None where it is NULL. `link`: the clip that the value names."""

    label: str
    value: str | None
    link: Link | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The measurements of one table. `note`: why some or all of them are missing."""

    title: str
    facts: list[Fact]
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Frames of a clip side by side, and the picture's size in pixels, so that a page does not jump as it loads."""

    file: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image chosen for a clip, and the clip that it was taken from."""

    file: str
    similarity: float
    origin: Link


@dataclass(frozen=True, kw_only=True)
class ClipView:
    """One clip. Files are paths under the run; times are seconds of the source's presentation clock.

    `kind`: sync or subject where it is kept, else reject, unknown, or undecided before the first decisions.
    """

    key: str
    kind: str
    split: str | None
    file_name: str
    start_s: float
    end_s: float
    frames: int
    width: int
    height: int
    video: str
    sound: str | None
    strip: Strip | None
    caption: str | None
    missed: list[Missed]
    topics: list[Facts]
    references: list[Reference]


def place_clips(relations: Relations) -> int:
    """Give every clip its place in the report, by file name and time. Returns how many there are."""
    relations.connection.execute(
        """CREATE OR REPLACE TEMP TABLE placed AS
           WITH files AS (SELECT source_id, min(uri) AS uri FROM locations GROUP BY source_id)
           SELECT id, uri, source_id, start_us, row_number() OVER (ORDER BY uri, source_id, start_us, id) - 1 AS place
           FROM clips LEFT JOIN files USING (source_id) WHERE status = 'ok'"""
    )
    return int(relations.connection.execute("SELECT count(*) FROM placed").fetchall()[0][0])


def clips_in_order(relations: Relations) -> Iterator[ClipView]:
    """Every clip, after `place_clips`. No more than READ_AT_ONCE are held in memory."""
    first = 0
    while rows := _rows_from(relations, first):
        yield from map(_view, rows)
        first += READ_AT_ONCE


def _rows_from(relations: Relations, first: int) -> list[Row]:
    cursor = relations.connection.execute(_query(), {"first": first, "end": first + READ_AT_ONCE})
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _query() -> str:
    """Semi-joins first, so that a table of any size is read past the few clips wanted, and never held."""
    tables = ("clips", *CLIP_TABLES, "decisions")
    few = ", ".join(f'few_{table} AS (SELECT * FROM "{table}" SEMI JOIN few USING (id))' for table in tables)
    joins = " ".join(f'LEFT JOIN few_{table} AS "{table}" USING (id)' for table in (*CLIP_TABLES, "decisions"))
    structs = ", ".join(_struct(topic) for topic in TOPICS)
    return f"""
        WITH few AS (SELECT * FROM placed WHERE place >= $first AND place < $end), {few},
        chosen AS (
            SELECT id, CASE WHEN tier = 'sync' THEN speaker_chosen ELSE chosen END AS candidates
            FROM few_references LEFT JOIN few_decisions USING (id)),
        wanted AS (SELECT id AS clip, unnest(candidates) AS id, generate_subscripts(candidates, 1) AS rank FROM chosen),
        pictures AS (
            SELECT clip AS id, list(struct_pack(
                file := file, similarity := similarity, origin := placed
            ) ORDER BY wanted.rank) AS shown
            FROM wanted JOIN candidates ON candidates.id = wanted.id
            JOIN placed ON placed.id = reference_clip_id GROUP BY clip)
        SELECT few.id, few.uri, few.source_id, few.start_us, clips.end_us, clips.frames, clips.width, clips.height,
            clips.media_sha256, clips.audio_sha256, decisions.tier, decisions.outcome, decisions.split,
            decisions.failed_rules, decisions.unknown_rules, shown, copied, {structs}
        FROM few JOIN few_clips AS clips USING (id) LEFT JOIN pictures USING (id) {joins}
        LEFT JOIN placed AS copied ON copied.id = duplicates.duplicate_of ORDER BY few.place"""


def _struct(topic: Topic) -> str:
    """A table's row in one column named as the table."""
    columns = dict.fromkeys(
        ("status", "error", *(m.column for m in topic.measures), *_MORE_COLUMNS.get(topic.table, ()))
    )
    fields = ", ".join(f'"{column}" := "{topic.table}"."{column}"' for column in columns)
    return f'struct_pack({fields}) AS "{topic.table}"'


def _view(row: Row) -> ClipView:
    return ClipView(
        key=row["id"],
        kind=row["tier"] if row["outcome"] == "keep" else row["outcome"] or "undecided",
        split=row["split"],
        file_name=_file_name(row),
        start_s=row["start_us"] / 1_000_000,
        end_s=row["end_us"] / 1_000_000,
        frames=row["frames"],
        width=row["width"],
        height=row["height"],
        video=media_path("clips", row["media_sha256"]),
        sound=media_path("audio", row["audio_sha256"]) if row["audio_sha256"] else None,
        strip=_strip(row),
        caption=row["captions"]["text"],
        missed=[
            *(_missed(rule, row, unknown=False) for rule in row["failed_rules"] or []),
            *(_missed(rule, row, unknown=True) for rule in row["unknown_rules"] or []),
        ],
        topics=[_facts(topic, row) for topic in TOPICS],
        references=[_reference(picture) for picture in row["shown"] or []],
    )


def _strip(row: Row) -> Strip | None:
    sha256 = row["quality"]["thumbnail_sha256"]
    if sha256 is None:
        return None
    height = max(1, round(row["height"] * STRIP_WIDTH_PX / row["width"]))
    return Strip(file=media_path("thumbnails", sha256), width=STRIP_FRAMES * STRIP_WIDTH_PX, height=height)


def _missed(rule: Row, row: Row, *, unknown: bool) -> Missed:
    """A rule with the recorded causes of the NULLs in it."""
    tables = (
        column.partition(".")[0]
        for column, equals, value in (pair.partition(" = ") for pair in rule["values"].split(", "))
        if value == "NULL"
    )
    causes = [row[table]["error"] for table in dict.fromkeys(tables) if table in CLIP_TABLES and row[table]["error"]]
    return Missed(tier=rule["tier"], rule=rule["rule"], unknown=unknown, values=rule["values"], causes=causes)


def _facts(topic: Topic, clip: Row) -> Facts:
    row = clip[topic.table]
    if row["status"] != "ok":
        return Facts(title=topic.title, facts=[], note=row["error"] or "not measured yet")
    facts = [
        Fact(
            label=measure.label,
            value=None if row[measure.column] is None else measure.say(row[measure.column]),
            link=_copied(clip) if measure.column == "duplicate_of" else None,
        )
        for measure in topic.measures
        if row[measure.column] is not None or not measure.optional
    ]
    return Facts(title=topic.title, facts=facts, note=row["error"])


def _copied(clip: Row) -> Link | None:
    """The clip that this one is a copy of; none where it is no longer in the run."""
    return _link(clip["copied"]) if clip["copied"] and clip["copied"]["id"] else None


def _reference(picture: Row) -> Reference:
    return Reference(file=picture["file"], similarity=picture["similarity"], origin=_link(picture["origin"]))


def _link(placed: Row) -> Link:
    name = f"{_file_name(placed)}, {placed['start_us'] / 1e6:.2f} s"
    return Link(key=placed["id"], place=placed["place"], name=name)


def _file_name(row: Row) -> str:
    return str(row["uri"]).rsplit("/", 1)[-1] if row["uri"] else str(row["source_id"])
