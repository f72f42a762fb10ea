"""What was measured of each clip, side by side: what the rules look at."""

from collections.abc import Callable, Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.verdicts import clip_rows
from pipeline.store.relations import Relations
from pipeline.store.spans import IdRange, SpanReader


def measurements(
    relations: Relations, columns: Mapping[str, Sequence[str]], *, reviewed: bool
) -> Callable[[IdRange, duckdb.DuckDBPyConnection], pa.Table]:
    """What reads the clips of a range, one row each in the order of their ids: `id`, `split`, `component`, and a struct
    of each table that rules may name, whose fields are NULL where the table has no row of the clip.

    Reads the tables `uses`, which are the `locations` of rules, and `components`.

    `columns`: clip-level table -> those to read. `reviewed`: whether any verdict stands; `standing` has them, and comes
    along as `review`. All may be called by several threads at once, each with a connection of its own.
    """
    tables = {table: names for table, names in columns.items() if names and table != "clips"}
    # What is not as the snapshot has it DuckDB tells: captions with those that reviewers wrote, references just chosen.
    told = {table for table in tables if table in relations.shown or (table == "captions" and reviewed)}
    reader = SpanReader(relations.files, relations.snapshot, ["clips", *(tables.keys() - told)])

    def measured(span: IdRange, connection: duckdb.DuckDBPyConnection) -> pa.Table:
        clips = reader.read("clips", ["source_id", "status", *columns["clips"]], span)
        clips = clips.filter(pc.equal(clips["status"], "ok"))
        ids = clips["id"].combine_chunks()
        sources = clips["source_id"].combine_chunks()
        uses, parted = (
            _beside(sources, connection.execute(f"SELECT * FROM {table} WHERE {span.sql()}").to_arrow_table())
            for table in ("uses", "components")
        )
        found = {"id": ids, "split": parted["split"], "component": parted["component"]}
        found |= {"clips": _struct(clips, columns["clips"]), "locations": _struct(uses, uses.column_names)}
        for table, names in tables.items():
            if table in told:
                listed = ", ".join(f'"{name}"' for name in ("id", *names))
                query = f"SELECT {listed} FROM {clip_rows(table, span.sql(), reviewed=reviewed)} AS told ORDER BY id"
                rows = connection.execute(query).to_arrow_table()
            else:
                rows = reader.read(table, names, span)
            found[table] = _struct(_beside(ids, rows), names)
        if reviewed:
            said = connection.execute(f"SELECT * FROM standing WHERE {span.sql()}").to_arrow_table()
            found["review"] = _struct(_beside(ids, said), said.column_names)
        return pa.Table.from_arrays(list(found.values()), list(found))

    return measured


def _beside(ids: pa.Array, rows: pa.Table) -> pa.Table:
    """A row for each id, NULL where there is none. Most tables have the same rows in the same order already."""
    if rows["id"].combine_chunks().equals(ids):
        return rows
    return rows.take(pc.index_in(ids, value_set=rows["id"]))


def _struct(rows: pa.Table, names: Sequence[str]) -> pa.StructArray:
    return pa.StructArray.from_arrays([rows[name].combine_chunks() for name in names], list(names))
