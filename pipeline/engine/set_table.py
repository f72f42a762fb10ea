"""The table of a set stage: rows as they are found, then in order; never all of them in memory."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine.rows import About, completed
from pipeline.stage import Row, SetRows
from pipeline.store.bundles import write_rows
from pipeline.store.parts import GROUP_ROWS, conformed, to_arrow
from pipeline.store.relations import Relations, quoted
from schemas.tables import TABLES


def write_found(path: Path, table: str, found: Iterable[SetRows], relations: Relations, *, about: About) -> int:
    """Write a table's file, sorted by id: what is found, and the rows in force whose `inputs` are kept.

    Returns for how many items something was computed.
    """
    loose = path.with_suffix(".loose")
    computed, kept = 0, list[str]()
    with pq.ParquetWriter(loose, TABLES[table].schema, compression="zstd") as writer:
        waiting: list[Row] = []
        for piece in found:
            computed += piece.computed
            kept += piece.kept
            for row in piece.rows:
                waiting.append(completed(row, **about))
                if len(waiting) == GROUP_ROWS:
                    writer.write_table(to_arrow(table, waiting))
                    waiting = []
        writer.write_table(to_arrow(table, waiting))
    query = f"SELECT * FROM read_parquet({quoted(str(loose))})"
    with relations.connection.cursor() as cursor:
        if kept:
            cursor.register("kept", pa.table({"inputs": kept}))
            query += f' UNION ALL BY NAME SELECT * FROM "{table}" WHERE inputs IN (SELECT inputs FROM kept)'
        batches = cursor.execute(f"{query} ORDER BY id").to_arrow_reader(GROUP_ROWS)
        rows = (conformed(table, pa.Table.from_batches([batch])) for batch in batches)
        write_rows(path, rows, TABLES[table].schema)
    loose.unlink()
    return computed
