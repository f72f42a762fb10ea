"""Ranges of ids read by Arrow are what DuckDB reads: whatever bundles they lie in, dropped, old or interleaved."""

import tempfile
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.store import bundles
from pipeline.store.bundles import write_bundle
from pipeline.store.files import Files
from pipeline.store.parts import to_arrow, write_part
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Bundle, Snapshot
from pipeline.store.spans import IdRange, SpanReader

ABOUT = {"status": "ok", "backend": "test/1", "fingerprint": "f", "seconds": 0.0, "attempt": 1}
SOURCES = [f"{number:x}" for number in range(8)]
EDGES = [*SOURCES, "g", "3_1_9"]
COLUMNS = {"quality": ("luma", "contrast"), "speech": ("ratio",)}


@pytest.fixture(autouse=True, scope="module")
def small_groups() -> None:
    """So that a part has several groups of rows, and a range ends within one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundles, "GROUP_ROWS", 3)
        yield


@st.composite
def bundle(draw: st.DrawFn) -> tuple[set[str], set[str], bool, bool]:
    """Its sources, those of them that were dropped, whether an older version wrote it, without a column, and whether
    the other table has all of its clips."""
    sources = draw(st.sets(st.sampled_from(SOURCES), min_size=1))
    return sources, draw(st.sets(st.sampled_from(sorted(sources)))), draw(st.booleans()), draw(st.booleans())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(bundle(), max_size=3),
    st.integers(1, 3),
    st.sampled_from(["", *EDGES]),
    st.sampled_from([None, *EDGES]),
)
@example([({"3"}, set(), False, True)], 3, "3_1_9", None)
@example([({"3"}, set(), False, True)], 3, "", "3_1_9")
@example([({"1", "3"}, set(), False, True), ({"2", "4"}, {"2"}, False, True)], 3, "", None)
@example([({"1", "3"}, {"1"}, False, False), ({"2", "4"}, set(), True, True)], 2, "1_1_9", "4")
def test_a_range_is_what_duckdb_reads(
    made: list[tuple[set[str], set[str], bool, bool]], clips: int, first: str, last: str | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files, snapshot, seen = Files(folder), Snapshot(), set[str]()
        for number, (sources, dropped, older, whole) in enumerate(made):
            rows = [
                {"id": f"{source}_{clip}_9", **ABOUT, "luma": 0.1 * clip, "contrast": float(number)}
                for source in sources - seen
                for clip in range(clips)
            ]
            seen |= sources - dropped
            if not rows:
                continue
            table = to_arrow("quality", rows)
            # Ids of tables that have the same rows are the same bytes.
            ratios = [{"id": row["id"], **ABOUT, "ratio": row["luma"]} for row in rows if whole or row["luma"] < 0.05]
            name, told = write_bundle(
                files,
                {
                    "quality": table.drop_columns(["contrast"]) if older else table,
                    "speech": to_arrow("speech", ratios),
                },
            )
            kept: Bundle = replace(told, dropped=sorted(dropped & {row["id"][0] for row in rows}))
            snapshot = replace(snapshot, bundles={**snapshot.bundles, name: kept})
        span = IdRange(first, last)
        with Relations(files, snapshot).connection as connection:
            expected = {
                table: connection.execute(
                    f"SELECT id, {', '.join(columns)} FROM {table} WHERE {span.sql()} ORDER BY id"
                ).fetchall()
                for table, columns in COLUMNS.items()
            }
        found = SpanReader(files, snapshot, COLUMNS).read(COLUMNS, span)
    assert {table: [tuple(row.values()) for row in rows.to_pylist()] for table, rows in found.items()} == expected


def test_a_table_that_nothing_was_written_of_has_no_rows() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = Files(folder)
        write_part(files, "references", "tables/references/f/none.parquet", [])
        snapshot = Snapshot(sets={"references": "tables/references/f/none.parquet"})
        reader = SpanReader(files, snapshot, ["references", "sync"])
        for table, column in (("references", "count"), ("sync", "p_value")):
            found = reader.read({table: [column]}, IdRange(""))[table]
            assert (found.num_rows, found.column_names) == (0, ["id", column])


def test_of_what_must_only_be_known_null_stays_null() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = Files(folder)
        texts = {"1_0_9": "a", "1_1_9": None, "1_2_9": "b", "2_0_9": "c", "2_1_9": "d", "2_2_9": "e"}
        rows = [{"id": id_, **ABOUT, "text": text, "language": "en"} for id_, text in texts.items()]
        name, told = write_bundle(files, {"captions": to_arrow("captions", rows)})
        snapshot = Snapshot(bundles={name: told})
        reader, columns = SpanReader(files, snapshot, ["captions"]), {"captions": ["text", "language"]}
        for span in (IdRange(""), IdRange("2"), IdRange("1_1_9", "2_1_9")):
            whole = reader.read(columns, span)["captions"]
            found = reader.read(columns, span, known=["captions.text"])["captions"]
            assert found["text"].is_null().equals(whole["text"].is_null())
            assert found.select(["id", "language"]).equals(whole.select(["id", "language"]))
        only = reader.read({"captions": ["text"]}, IdRange("2"), known=["captions.text"])["captions"]
        assert only.to_pylist() == [{"id": f"2_{number}_9", "text": ""} for number in range(3)]
