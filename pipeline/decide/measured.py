"""What was measured of each clip, side by side: what the rules look at."""

from collections.abc import Callable, Collection, Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.decide.rules import EXTRA_COLUMNS
from pipeline.decide.verdicts import clip_rows
from pipeline.store.relations import Relations
from pipeline.store.spans import IdRange, SpanReader


def measurements(
    relations: Relations, columns: Mapping[str, Sequence[str]], *, known: Collection[str], reviewed: bool
) -> Callable[[IdRange, duckdb.DuckDBPyConnection], pa.Table]:
    """What reads the clips of a range, one row each in the order of their ids: `id`, `split`, `component`, and a struct
    of each table that rules may name, whose fields are NULL where the table has no row of the clip.

    Reads the tables `uses`, which are the `locations` of rules, and `components`.

    `columns`: clip-level table -> those to read. `known`: of these, as `table.column`, those of which is asked only
    whether they are NULL: see `SpanReader.read`. `reviewed`: whether any verdict stands; `standing` has them, and comes
    along as `review`. All may be called by several threads at once, each with a connection of its own.
    """
    tables = {table: names for table, names in columns.items() if names and table != "clips"}
    # What is not as the snapshot has it DuckDB tells: captions with those that reviewers wrote, references just chosen.
    told = {table for table in tables if table in relations.shown or (table == "captions" and reviewed)}
    read: dict[str, Sequence[str]] = {"clips": ["source_id", "status", *columns["clips"]]}
    read |= {table: names for table, names in tables.items() if table not in told}
    reader = SpanReader(relations.files, relations.snapshot, read)

    def measured(span: IdRange, connection: duckdb.DuckDBPyConnection) -> pa.Table:
        rows = reader.read(read, span, known=known)
        clips = rows["clips"].filter(pc.equal(rows["clips"]["status"], "ok"))
        ids = clips["id"].combine_chunks()
        sources = connection.execute(
            f"""SELECT id, split, component, licence, consent
                FROM (SELECT * FROM components WHERE {span.sql()}) LEFT JOIN uses USING (id)"""
        ).to_arrow_table()
        sources = _each(clips["source_id"].combine_chunks(), sources)
        found = {"id": ids, "split": sources["split"], "component": sources["component"]}
        found |= {"clips": _struct(clips, columns["clips"]), "locations": _struct(sources, EXTRA_COLUMNS["locations"])}
        for table, names in tables.items():
            if table in told:
                listed = ", ".join(f'"{name}"' for name in ("id", *names))
                query = f"SELECT {listed} FROM {clip_rows(table, span.sql(), reviewed=reviewed)} AS told ORDER BY id"
                rows[table] = connection.execute(query).to_arrow_table()
            found[table] = _struct(_beside(ids, rows[table]), names)
        if reviewed:
            said = connection.execute(f"SELECT * FROM standing WHERE {span.sql()}").to_arrow_table()
            found["review"] = _struct(_beside(ids, said), said.column_names)
        return pa.Table.from_arrays(list(found.values()), list(found))

    return measured


def _each(sources: pa.Array, rows: pa.Table) -> pa.Table:
    """The row of the source of each clip. Clips of one source follow each other."""
    runs = pc.run_end_encode(sources)
    places = pc.index_in(runs.values, value_set=rows["id"])
    return rows.take(pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(runs.run_ends, places)))


def _beside(ids: pa.Array, rows: pa.Table) -> pa.Table:
    """A row for each id, NULL where there is none. Most tables have the same rows in the same order already."""
    if rows["id"].combine_chunks().equals(ids):
        return rows
    return rows.take(pc.index_in(ids, value_set=rows["id"]))


def _struct(rows: pa.Table, names: Sequence[str]) -> pa.StructArray:
    return pa.StructArray.from_arrays([rows[name].combine_chunks() for name in names], list(names))
