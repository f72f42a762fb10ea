"""Hours in and out, and what they cost."""

from dataclasses import dataclass

from pipeline.store.relations import Relations

SOURCES = 50
"""Sources listed, the longest first; the others are added up."""


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Seconds of a source, or of all the others: of footage, in clips, and kept in each tier."""

    name: str
    footage_s: float
    clips_s: float
    subject_s: float
    sync_s: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Processor seconds of a stage."""

    stage: str
    seconds: float


def hours_by_source(relations: Relations) -> list[Hours]:
    """The longest sources first, the last row for all that are not listed."""
    rows = relations.connection.execute(
        f"""
        WITH files AS (SELECT source_id AS id, parse_filename(min(uri)) AS name FROM locations GROUP BY source_id),
        cut AS (SELECT source_id AS id, sum(frames) / 25 AS clips,
                    coalesce(sum(frames) FILTER (outcome = 'keep' AND tier = 'subject'), 0) / 25 AS subject,
                    coalesce(sum(frames) FILTER (outcome = 'keep' AND tier = 'sync'), 0) / 25 AS sync
                FROM clips LEFT JOIN decisions USING (id) WHERE clips.status = 'ok' GROUP BY source_id),
        ranked AS (SELECT coalesce(files.name, sources.id) AS name, coalesce(duration_us, 0) / 1e6 AS footage,
                       coalesce(clips, 0) AS clips, coalesce(subject, 0) AS subject, coalesce(sync, 0) AS sync,
                       row_number() OVER (ORDER BY coalesce(duration_us, 0) DESC, sources.id) AS place
                   FROM sources LEFT JOIN files USING (id) LEFT JOIN cut USING (id) WHERE sources.status = 'ok')
        SELECT CASE WHEN min(place) <= {SOURCES} THEN any_value(name) ELSE count(*) || ' others' END,
               sum(footage), sum(clips), sum(subject), sum(sync)
        FROM ranked GROUP BY least(place, {SOURCES + 1}) ORDER BY least(place, {SOURCES + 1})"""
    ).fetchall()
    names = ("name", "footage_s", "clips_s", "subject_s", "sync_s")
    return [Hours(**dict(zip(names, (row[0], *map(float, row[1:])), strict=True))) for row in rows]


def costs(relations: Relations) -> list[Cost]:
    """Since the run began, the dearest first."""
    work = relations.snapshot.work
    found = [
        Cost(stage=name.removeprefix("seconds."), seconds=amount)
        for name, amount in work.items()
        if name.startswith("seconds.")
    ]
    return sorted(found, key=lambda cost: (-cost.seconds, cost.stage))
