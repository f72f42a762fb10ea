"""Parts: immutable Parquet files of rows, named by what they were computed from."""

import io
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.files import Files
from schemas.tables import TABLES, check_version

Row = dict[str, Any]

GROUP_ROWS = 16_384
"""Rows of a Parquet row group."""


def part_path(table: str, fingerprint: str, digest: str) -> str:
    """Where the rows of a table lie that a stage of this fingerprint computed from inputs of this digest."""
    return f"tables/{table}/{fingerprint}/{digest}.parquet"


def to_arrow(table: str, rows: Iterable[Row]) -> pa.Table:
    """Rows as an Arrow table in the table's schema, sorted by id. Raises where a row has an unknown column."""
    schema = TABLES[table].schema
    names = set(schema.names)
    ordered = sorted(rows, key=lambda row: str(row["id"]))
    for row in ordered:
        if unknown := row.keys() - names:
            raise KeyError(f"table {table} has no column {sorted(unknown)}")
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in ordered], schema=schema)


def write_part(files: Files, table: str, path: str, rows: Iterable[Row]) -> None:
    """Create a part, unless it is there: the first commit wins."""
    write_table(files, path, to_arrow(table, rows))


def write_table(files: Files, path: str, table: pa.Table) -> None:
    """Create a part from an Arrow table, unless it is there."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    files.create(path, sink.getvalue())


def conformed(table: str, rows: pa.Table) -> pa.Table:
    """Rows with the columns of this version; those that an older one did not write are NULL."""
    return fitted(rows, TABLES[table].schema)


def fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with the columns of a schema; those that they lack are NULL."""
    nothing = pa.nulls(rows.num_rows)
    names = set(rows.column_names)
    arrays = [(rows[field.name] if field.name in names else nothing).cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def read_part(files: Files, path: str) -> pa.Table:
    """A part's rows. Raises UserError where a newer version wrote it."""
    table = pq.read_table(pa.BufferReader(files.read(path)))
    check_version(table.schema, where=f"{files.root}/{path}")
    return table
