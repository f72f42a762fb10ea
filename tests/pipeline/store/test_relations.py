"""Relations that move to another snapshot show what new ones would."""

import random
from pathlib import Path

from pipeline.store.bundles import write_bundle
from pipeline.store.files import Files
from pipeline.store.parts import to_arrow, write_part
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot

ABOUT = {"status": "ok", "backend": "test/1", "fingerprint": "f", "seconds": 0.0, "attempt": 1}


def _with_source(files: Files, snapshot: Snapshot, source: str) -> Snapshot:
    rows = [{"id": f"{source}_0_9", **ABOUT, "ratio": 0.5}]
    terms = [{"id": source, **ABOUT, "terms": "{}"}]
    return snapshot.with_bundle(
        *write_bundle(files, {"speech": to_arrow("speech", rows), "ledger": to_arrow("ledger", terms)}), {}
    )


def _with_references(files: Files, snapshot: Snapshot, count: int) -> Snapshot:
    path = f"tables/references/f/{count}.parquet"
    write_part(files, "references", path, [{"id": "1_0_9", **ABOUT, "count": count}])
    return snapshot.with_set({"references": path})


def _seen(relations: Relations) -> list[list[tuple[object, ...]]]:
    queries = ('SELECT id, count FROM "references"', "SELECT id, ratio FROM speech ORDER BY id")
    return [relations.connection.execute(query).fetchall() for query in queries] + [sorted(relations.ledger_sums)]


def test_relations_that_move_show_what_new_ones_would(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    first = _with_references(files, _with_source(files, Snapshot(), "1"), 1)
    chosen = _with_references(files, first, 2)
    grown = _with_source(files, chosen, "2")
    relations = Relations(files, first)
    for snapshot in (chosen, grown, first):
        relations.move(snapshot)
        assert relations.snapshot == snapshot
        assert _seen(relations) == _seen(Relations(files, snapshot))


def test_relations_that_move_show_nothing_in_the_place_of_a_table(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    first = _with_references(files, Snapshot(), 1)
    write_part(files, "references", "other.parquet", [{"id": "1_0_9", **ABOUT, "count": 7}])
    relations = Relations(files, first)
    relations.show("references", tmp_path / "other.parquet")
    assert _seen(relations)[0] == [("1_0_9", 7)]
    relations.move(first)
    assert _seen(relations)[0] == [("1_0_9", 1)]
    assert not relations.shown


def test_rows_are_counted_by_status_as_a_query_would(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    snapshot, rng = Snapshot(), random.Random(0)
    # Where all rows of a file have one status, what it says of itself is enough, unless some of them count no more.
    for pair, kinds in (("12", ["ok"]), ("34", ["ok", "failed", "inapplicable"]), ("56", ["failed"])):
        keys = [f"{source}_{at}_9" for source in pair for at in range(40)]
        rows = [{"id": key, **ABOUT, "status": rng.choice(kinds), "ratio": 0.5} for key in keys]
        terms = [{"id": source, **ABOUT, "terms": "{}"} for source in pair]
        tables = {"speech": to_arrow("speech", rows), "ledger": to_arrow("ledger", terms)}
        snapshot = snapshot.with_bundle(*write_bundle(files, tables), {})
    removed = snapshot.dropping(dict(zip(snapshot.bundles, ((), ("4",), ("5",)), strict=True)))
    relations = Relations(files, snapshot)
    for now, rows_left in ((snapshot, 240), (removed, 160), (snapshot, 240)):
        relations.move(now)
        told = dict(relations.connection.execute("SELECT status, count(*) FROM speech GROUP BY status").fetchall())
        assert sum(told.values()) == rows_left
        assert relations.statuses("speech") == told
    assert relations.statuses("quality") == {}
