"""What could not be measured, by reason."""

from dataclasses import dataclass

from pipeline.store.relations import Relations
from schemas.tables import TABLES

EXAMPLES = 3
REASONS = 200
"""Reasons listed; a message that names its file makes as many reasons as files."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A reason, how many rows of a table failed for it, and where some of them lie."""

    table: str
    row: str
    reason: str
    number: int
    examples: list[str]


@dataclass(frozen=True, kw_only=True)
class Failures:
    """The most frequent reasons first; `left_out` counts the failed rows of the others."""

    listed: list[Failure]
    left_out: int


def failures_by_reason(relations: Relations) -> Failures:
    """Failed rows of every table."""
    rows = " UNION ALL ".join(
        f"SELECT '{name}' AS place, coalesce(error, 'no reason was recorded') AS reason, id "
        f"FROM \"{name}\" WHERE status = 'failed'"
        for name in TABLES
    )
    query = f"""
        WITH failed AS ({rows}),
        files AS (
            SELECT coalesce(source_id, id) AS source_id, parse_filename(min(uri)) AS file FROM locations GROUP BY ALL
        )
        SELECT place, reason, count(*) AS number,
            list(struct_pack(id := id, file := coalesce(file, id)) ORDER BY id)[:{EXAMPLES}]
        FROM failed LEFT JOIN files ON files.source_id = split_part(failed.id, '_', 1)
        GROUP BY place, reason ORDER BY number DESC, place, reason"""
    cursor = relations.connection.execute(query)
    listed = [
        Failure(
            table=table,
            row=TABLES[table].row,
            reason=reason,
            number=number,
            examples=[_example(**example) for example in examples],
        )
        for table, reason, number, examples in cursor.fetchmany(REASONS)
    ]
    left_out = 0
    while rest := cursor.fetchmany(REASONS):
        left_out += sum(row[2] for row in rest)
    return Failures(listed=listed, left_out=left_out)


def _example(id: str, file: str) -> str:
    """A file, and the second where a clip of it begins; ids begin with the source and the clip's start."""
    start = id.partition("_")[2].partition("_")[0]
    return f"{file} at {int(start) / 1e6:.2f} s" if start.isdecimal() else file
