"""The gallery: which clips, in which order, a page at a time; from one table made when a commit is opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from pipeline.report.clips import place_clips
from pipeline.report.measurements import measurements
from pipeline.store.relations import Relations, quoted
from schemas.tables import CLIP_TABLES

PAGE = 24
"""Clips of a page."""

SHOWN = {
    "": "All clips",
    "keep": "Kept",
    "sync": "Kept: sync tier",
    "subject": "Kept: subject tier alone",
    "reject": "Rejected",
    "unknown": "Unknown",
    "failed": "A measurement failed",
}
SAID = {
    "": "with or without a verdict",
    "none": "without a verdict",
    "accept": "accepted",
    "reject": "rejected by a reviewer",
    "fix_caption": "caption to be fixed",
    "bad_sync": "bad sync",
    "bad_reference": "bad reference",
    "disputed": "reviewers disagree",
}
_OUTCOMES = {
    "keep": "kind IN ('sync', 'subject')",
    "failed": "len(failed) > 0",
}
_SAID = {
    "none": "id NOT IN (SELECT id FROM standing)",
    "disputed": "id IN (SELECT id FROM standing WHERE disputed)",
    "accept": "id IN (SELECT id FROM standing WHERE accepted)",
    "reject": "id IN (SELECT id FROM standing WHERE rejected)",
    "fix_caption": "id IN (SELECT id FROM standing WHERE wants_caption)",
    "bad_sync": "id IN (SELECT id FROM standing WHERE bad_sync)",
    "bad_reference": "id IN (SELECT clip_id FROM bad_references)",
}


class Wanted(BaseModel):
    """What a gallery page is asked for, as its address says. Raises where it asks for what there is not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    show: str = Field(default="", pattern="^(" + "|".join(SHOWN) + ")$")
    said: str = Field(default="", pattern="^(" + "|".join(SAID) + ")$")
    rule: str = Field(default="", max_length=500, description="`tier: rule`, not passed")
    source: str = Field(default="", pattern="^([0-9a-f]{16})?$")
    person: str = Field(default="", max_length=80)
    measure: str = Field(default="", max_length=80)
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    words: str = Field(default="", max_length=200, description="In the file's name or the caption")
    audit: str = Field(default="", pattern="^([0-9a-f]{32})?$")
    unseen_by: str = Field(default="", max_length=80, description="Of this reviewer no verdict stands")
    sort: str = Field(default="", max_length=80, description="A measurement; else by file and time")
    order: Literal["up", "down"] = "up"
    after: str = Field(default="", max_length=100, description="The last clip of the page before")

    @field_validator("sort", "measure")
    @classmethod
    def _known(cls, column: str) -> str:
        if column and column not in {one.column for one in measurements()}:
            raise ValueError("there is no such measurement")
        return column

    def address(self, **change: Any) -> dict[str, Any]:
        """What the address of another page says: only what differs from the defaults."""
        changed = self.model_copy(update=change)
        return changed.model_dump(exclude_defaults=True)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of clips, how many there are in all, and whether more come after."""

    clips: list[dict[str, Any]]
    count: int
    more: bool


def create_gallery(relations: Relations, path: Path) -> None:
    """Make the view `gallery`: a row a clip, a column a measurement. Its table lies in a file, not in memory."""
    place_clips(relations)
    execute = relations.connection.execute
    columns = ", ".join(
        f'"{one.column.split(".")[0]}"."{one.column.split(".")[1]}" AS "{one.column}"' for one in measurements()
    )
    joins = " ".join(f'LEFT JOIN "{table}" ON "{table}".id = placed.id' for table in CLIP_TABLES)
    failed = ", ".join(f"CASE WHEN \"{table}\".status = 'failed' THEN '{table}' END" for table in CLIP_TABLES)
    execute(f"ATTACH {quoted(str(path))} AS pages")
    execute(
        f"""CREATE TABLE pages.gallery AS
            SELECT placed.id, placed.place, placed.uri, placed.source_id, placed.start_us, clips.end_us, clips.frames,
                   clips.width, clips.height, clips.media_sha256, clips.audio_sha256, quality.thumbnail_sha256,
                   captions.text AS caption, decisions.outcome, decisions.tier, decisions.split,
                   CASE WHEN decisions.outcome IS NULL THEN 'undecided' WHEN decisions.outcome = 'keep'
                        THEN decisions.tier ELSE decisions.outcome END AS kind,
                   list_transform(list_concat(failed_rules, unknown_rules), lambda r: r.tier || ': ' || r.rule)
                       AS missed,
                   list_filter([{failed}], lambda name: name IS NOT NULL) AS failed,
                   lower(concat_ws(' ', placed.uri, captions.text)) AS searched, {columns}
            FROM placed JOIN clips ON clips.id = placed.id {joins} LEFT JOIN decisions ON decisions.id = placed.id
            ORDER BY placed.place"""
    )
    # Read from now on: nothing lies beside the file that would stay when it is removed.
    execute("DETACH pages")
    execute(f"ATTACH {quoted(str(path))} AS pages (READ_ONLY)")
    execute("CREATE OR REPLACE VIEW gallery AS SELECT * FROM pages.gallery")


def condition(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """SQL of which clips are wanted, and its parameters. Names of columns come from the schemas alone."""
    parts: list[str] = ["true"]
    values: dict[str, Any] = {}
    if wanted.show:
        parts.append(_OUTCOMES.get(wanted.show, f"kind = {quoted(wanted.show)}"))
    if wanted.said:
        parts.append(_SAID[wanted.said])
    if wanted.rule:
        parts.append("list_contains(missed, $rule)")
        values["rule"] = wanted.rule
    if wanted.source:
        parts.append("source_id = $source")
        values["source"] = wanted.source
    if wanted.person:
        parts.append("id IN (SELECT clip_id FROM identities WHERE identity = $person)")
        values["person"] = wanted.person
    if wanted.audit:
        parts.append(
            """id IN (SELECT unnest(from_json(json_extract(details, '$.clips'), '["VARCHAR"]'))
                      FROM verdicts WHERE id = $audit)"""
        )
        values["audit"] = wanted.audit
    if wanted.unseen_by:
        parts.append(
            "id NOT IN (SELECT id FROM standing WHERE "
            "list_contains(list_transform(said, lambda one: one.reviewer), $unseen_by))"
        )
        values["unseen_by"] = wanted.unseen_by
    if wanted.measure and wanted.low is not None:
        parts.append(f'"{wanted.measure}" >= $low')
        values["low"] = wanted.low
    if wanted.measure and wanted.high is not None:
        parts.append(f'"{wanted.measure}" <= $high')
        values["high"] = wanted.high
    for number, word in enumerate(wanted.words.lower().split()):
        parts.append(f"contains(searched, $word{number})")
        values[f"word{number}"] = word
    return " AND ".join(parts), values


def page_query(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """SQL of the next page after the clip `wanted.after`, which need not be among the wanted any more."""
    key, later, values = _beside(wanted)
    down = "DESC" if wanted.order == "down" else "ASC"
    return (
        f"""WITH last AS (SELECT {key} AS last_key, place AS last_place FROM gallery WHERE id = $after),
            page AS (SELECT id, {key} AS key FROM gallery LEFT JOIN last ON true
                     WHERE (last_key IS NULL OR {later}) AND {condition(wanted)[0]}
                     ORDER BY {key} {down}, place LIMIT {PAGE + 1})
            SELECT gallery.*, standing.said
            FROM page JOIN gallery USING (id) LEFT JOIN standing USING (id)
            ORDER BY page.key {down}, place""",
        {**values, "after": wanted.after},
    )


def neighbour_query(wanted: Wanted, clip: str, *, before: bool) -> tuple[str, dict[str, Any]]:
    """SQL of the clip that is shown next to another, or before it; that one need not be among the wanted."""
    key, later, values = _beside(wanted, before=before)
    down = "DESC" if (wanted.order == "down") is not before else "ASC"
    return (
        f"""WITH last AS (SELECT {key} AS last_key, place AS last_place FROM gallery WHERE id = $clip)
            SELECT id FROM gallery, last WHERE {later} AND {condition(wanted)[0]}
            ORDER BY {key} {down}, place {"DESC" if before else "ASC"} LIMIT 1""",
        {**values, "clip": clip},
    )


def _beside(wanted: Wanted, *, before: bool = False) -> tuple[str, str, dict[str, Any]]:
    """SQL of what clips are sorted by, and of whether one comes after (before) the clip of `last`; parameters."""
    down = wanted.order == "down"
    missing = "'-inf'" if down else "'inf'"
    key = f'coalesce("{wanted.sort}"::DOUBLE, {missing}::DOUBLE)' if wanted.sort else "place::DOUBLE"
    # Among equals by place, whatever the direction.
    beyond, place = "<" if down is not before else ">", "<" if before else ">"
    return key, f"({key} {beyond} last_key OR ({key} = last_key AND place {place} last_place))", condition(wanted)[1]


def count_query(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """SQL of how many clips are wanted on all pages together."""
    where, values = condition(wanted)
    return f"SELECT count(*) AS number FROM gallery WHERE {where}", values
