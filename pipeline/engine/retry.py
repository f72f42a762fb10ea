"""Failed rows again: after a mended stage, or where a worker died for reasons of its own."""

from collections import defaultdict
from dataclasses import replace

from pipeline.flow import CUT, MEASURE, STAGE
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot
from schemas.errors import UserError

CRAWL = "crawl"


def with_retries(
    snapshot: Snapshot, relations: Relations, *, stage: str | None, error: str | None
) -> tuple[Snapshot, int]:
    """The snapshot in which failed rows of item stages are asked for again, and how many these are.

    Places that could not be fetched are counted too: a curation without inputs tries them again by itself.

    Args:
        snapshot: the newest commit.
        relations: its tables.
        stage: of this stage alone (its name, or that of a table it makes), or `crawl`; None: of every one.
        error: only sources of which a row's reason contains this text: all that failed there in the same stage.

    Raises UserError for a stage that does not measure items.
    """
    items = (*CUT, *MEASURE)
    made_by = {table: name for name in items for table in STAGE[name].tables} | {"locations": CRAWL}
    stage = made_by.get(stage, stage) if stage else None
    if stage is not None and stage not in (CRAWL, *items):
        raise UserError(f"no stage {stage!r} has rows to be tried again: give one of {', '.join((CRAWL, *items))}")
    retries: dict[str, dict[str, int]] = defaultdict(
        dict, {key: dict(value) for key, value in snapshot.retries.items()}
    )
    rows = 0
    if stage in (None, CRAWL):
        query = "SELECT count(*) FROM locations WHERE status = 'failed' AND contains(error, ?)"
        rows = relations.connection.execute(query, [error or ""]).fetchall()[0][0]
    for name in items if stage is None else (stage,) if stage != CRAWL else ():
        table = STAGE[name].tables[0]
        query = f"SELECT id FROM \"{table}\" WHERE status = 'failed' AND contains(error, ?)"
        found = [id_ for (id_,) in relations.connection.execute(query, [error or ""]).fetchall()]
        rows += len(found)
        for source in {id_.partition("_")[0] for id_ in found}:
            retries[source][name] = retries[source].get(name, 0) + 1
    return replace(snapshot, retries=dict(retries)), rows
