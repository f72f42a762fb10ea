"""The parts of one source on their way between the passes and the commit."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.engine.plan import PENDING, Terms, clips_part, shots_parts, unit_parts
from pipeline.engine.rows import About, completed
from pipeline.engine.unit import CLIPS_PER_UNIT, unit_starts
from pipeline.flow import MEASURE, STAGE
from pipeline.stage import Row
from pipeline.store.bundles import keys_of
from pipeline.store.files import Files
from pipeline.store.parts import conformed, read_part, to_arrow, write_part

LEDGER = About(backend="engine/1", fingerprint="", seconds=0.0)

Tables = dict[str, pa.Table]


@dataclass(frozen=True, kw_only=True)
class Committed:
    """Where the rows of a source lie now, and what they were computed with. `parts`: table -> part."""

    terms: Terms
    parts: Mapping[str, str]


def collected(files: Files, source_id: str, terms: Terms, clips: int) -> Tables:
    """All rows of a source whose parts are whole, as they are committed."""
    paths: dict[str, list[str]] = {table: [path] for table, path in shots_parts(source_id, terms).items()}
    paths["clips"] = [clips_part(source_id, terms)]
    if clips:
        for start in unit_starts(clips):
            for table, path in unit_parts(source_id, start, terms).items():
                paths.setdefault(table, []).append(path)
    tables = {
        table: pa.concat_tables([conformed(table, read_part(files, path)) for path in found])
        for table, found in paths.items()
    }
    return {**tables, "ledger": ledger({source_id: terms})}


def ledger(terms: Mapping[str, Terms]) -> pa.Table:
    """The ledger's rows of these sources."""
    rows = (completed({"id": id_, "terms": found.to_json()}, **LEDGER) for id_, found in terms.items())
    return to_arrow("ledger", rows)


def rows_of_sources(files: Files, parts: Mapping[str, str], sources: set[str]) -> Tables:
    """The rows that some sources have in a bundle. Groups of rows that hold none of them are not read."""
    found: Tables = {}
    first, last = min(sources), max(sources)
    for table, path in parts.items():
        with files.open(path) as file:
            # An id begins with its source; "`" comes after every digit, letter and underscore of an id.
            near = pq.read_table(file, filters=[("id", ">=", first), ("id", "<", f"{last}`")])
        mine = near.filter(pc.is_in(keys_of(near), pa.array(sorted(sources), pa.string())))
        found[table] = conformed(table, mine)
    return found


def forget(files: Files, stages: Collection[str]) -> None:
    """Remove what these stages left for a commit: it is computed again."""
    tables = {table for name in stages for table in STAGE[name].tables}
    for path in list(files.walk(PENDING)) if tables else []:
        if path.rsplit("/", 1)[-1].partition("-")[0] in tables:
            files.remove(path)


def restore(files: Files, source_id: str, committed: Committed) -> None:
    """Put a source's committed rows back as the parts that the passes look for: what is valid is not done again."""
    tables = rows_of_sources(files, committed.parts, {source_id})
    paths = {**shots_parts(source_id, committed.terms), "clips": clips_part(source_id, committed.terms)}
    for table, path in paths.items():
        write_part(files, table, path, tables[table].to_pylist() if table in tables else [])
    clips = sorted(
        (row for row in (tables["clips"].to_pylist() if "clips" in tables else []) if row["status"] == "ok"),
        key=lambda row: int(row["start_us"]),
    )
    unit_of = {row["id"]: place // CLIPS_PER_UNIT * CLIPS_PER_UNIT for place, row in enumerate(clips)}
    rows: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for table in (table for name in MEASURE for table in STAGE[name].tables if table in tables):
        for row in tables[table].to_pylist():
            rows[table][unit_of[row.get("clip_id") or row["id"]]].append(row)
    for start in sorted(set(unit_of.values())):
        for table, path in unit_parts(source_id, start, committed.terms).items():
            write_part(files, table, path, rows[table][start])
