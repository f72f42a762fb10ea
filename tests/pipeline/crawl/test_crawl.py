"""Crawling: what inputs name, what lists carry along, and what is refused."""

import hashlib
import json
import tracemalloc
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import CurateConfig
from pipeline.crawl.places import Place, find
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.jobs import Job, jobs
from pipeline.engine.locations import crawl_into
from pipeline.engine.rows import completed
from pipeline.stages.crawl import strictest
from pipeline.stages.options.crawl import CrawlConfig
from pipeline.stages.shots import ShotsConfig
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, commit, latest
from schemas.errors import UserError
from tests.pipeline.synthetic_run import with_source


def todo(files: Files, snapshot: Snapshot) -> list[Job]:
    return list(jobs(Relations(files, snapshot), fingerprints(CurateConfig())))


def footage_in(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def places(*inputs: Path | str, **config: str) -> list[Place]:
    return list(find([str(one) for one in inputs], CrawlConfig(**config), scratch=Path("nowhere")))


def found(*inputs: Path | str, **config: str) -> list[tuple[str, str | None]]:
    return [(PurePath(place.uri).name, place.licence) for place in places(*inputs, **config)]


def test_files_folders_and_globs(tmp_path: Path) -> None:
    folder = footage_in(tmp_path, "b.mp4", "a/c.MKV", "a/notes.txt", "odd.bin")
    assert found(folder) == [("c.MKV", None), ("b.mp4", None)]
    assert found(folder / "odd.bin", folder / "b.mp4") == [("odd.bin", None), ("b.mp4", None)]
    assert found(f"{folder}/**/*.MKV") == [("c.MKV", None)]
    assert found(folder / "b.mp4", licence="cc0") == [("b.mp4", "cc0")]


@pytest.mark.parametrize("missing", ["none.mp4", "none/*.mp4", "empty"])
def test_an_input_that_names_nothing_is_one_clear_line(tmp_path: Path, missing: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no file|no video"):
        found(tmp_path / missing)


def test_schemes_that_can_lead_anywhere_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="ftp://host/a.mp4.*private_addresses"):
        found("ftp://host/a.mp4")


def test_lists_carry_licence_consent_and_further_columns(tmp_path: Path) -> None:
    footage_in(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "list.csv").write_text("uri,licence,consent,show\na.mp4,cc-by,yes,news\nb.mp4,,,\n")
    rows = places(tmp_path / "list.csv", licence="cc0")
    assert [(PurePath(row.uri).name, row.licence, row.consent, row.extra) for row in rows] == [
        ("a.mp4", "cc-by", "yes", {"show": "news"}),
        ("b.mp4", "cc0", None, {}),
    ]
    lines = [{"uri": "a.mp4", "licence": "cc-by"}, {"uri": "b.mp4"}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert found(tmp_path / "list.jsonl") == [("a.mp4", "cc-by"), ("b.mp4", None)]
    pq.write_table(
        pa.Table.from_pylist([{**line, "views": 7, "tags": ["x"]} for line in lines]), tmp_path / "l.parquet"
    )
    assert found(tmp_path / "l.parquet") == [("a.mp4", "cc-by"), ("b.mp4", None)]
    assert places(tmp_path / "l.parquet")[0].extra == {"views": "7", "tags": '["x"]'}
    (tmp_path / "list.txt").write_text("a.mp4\n\nb.mp4\n")
    assert found(tmp_path / "list.txt") == [("a.mp4", None), ("b.mp4", None)]


def test_a_list_without_addresses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("url,licence\na.mp4,cc0\n")
    with pytest.raises(UserError, match=r"row 1: there is no 'uri'"):
        found(tmp_path / "list.csv")


def test_the_strictest_licence_binds_and_an_unknown_one_most() -> None:
    assert strictest(["cc0", "cc-by-nc", "cc-by"]) == "cc-by-nc"
    assert strictest(["cc0", "house rules", "cc-by"]) == "house rules"
    assert strictest(["cc0", None]) is None


def test_one_content_in_two_places_is_one_source(tmp_path: Path) -> None:
    folder = tmp_path / "footage"
    footage_in(folder, "a.mp4")
    (folder / "copy.mp4").write_bytes(b"a.mp4")
    files = Files(str(tmp_path / "run"))
    crawl_into(files, latest(files), [str(folder)], CrawlConfig(), limit=None)
    relations = Relations(files, latest(files))
    expected = hashlib.sha256(b"a.mp4").hexdigest()[:16]
    assert [job.source_id for job in todo(files, latest(files))] == [expected]
    assert relations.connection.execute("SELECT count(*) FROM locations").fetchall() == [(2,)]


def test_a_changed_file_is_a_new_source_and_its_place_moves_along(tmp_path: Path) -> None:
    folder = footage_in(tmp_path / "footage", "a.mp4")
    files = Files(str(tmp_path / "run"))
    for content in (b"one", b"two"):
        (folder / "a.mp4").write_bytes(content)
        crawl_into(files, latest(files), [str(folder)], CrawlConfig(), limit=None)
    assert [job.source_id for job in todo(files, latest(files))] == [hashlib.sha256(b"two").hexdigest()[:16]]


def test_the_run_folder_is_no_footage(tmp_path: Path) -> None:
    footage_in(tmp_path, "a.mp4", "run/media/clips/00/x.mp4")
    files = Files(str(tmp_path / "run"))
    snapshot = crawl_into(files, latest(files), [str(tmp_path)], CrawlConfig(), limit=None)
    assert Relations(files, snapshot).arrow("locations").num_rows == 1


def test_a_source_that_lies_nowhere_any_more_leaves_with_its_rows(tmp_path: Path) -> None:
    folder = footage_in(tmp_path / "footage", "a.mp4")
    files = Files(str(tmp_path / "run"))
    first = crawl_into(files, latest(files), [str(folder)], CrawlConfig(), limit=None)
    (job,) = todo(files, first)
    assert job.there
    source = job.source_id
    rows = {"sources": [completed({"id": source}, backend="test", fingerprint="f", seconds=0.0)]}
    measured = commit(files, first, with_source(files, first, source, rows, CurateConfig()))
    assert todo(files, measured) == []
    (folder / "a.mp4").write_bytes(b"another film")
    other = CurateConfig(shots=ShotsConfig(likeness=0.45))
    assert [job.there for job in jobs(Relations(files, measured), fingerprints(other))] == [False]
    after = crawl_into(files, measured, [str(folder)], CrawlConfig(), limit=None)
    assert Relations(files, measured).arrow("sources")["id"].to_pylist() == [source]
    assert Relations(files, after).arrow("sources").num_rows == 0


def test_a_place_that_holds_nothing_is_a_failed_row_and_is_tried_again(tmp_path: Path) -> None:
    footage_in(tmp_path, "a.mp4")
    (tmp_path / "list.txt").write_text("a.mp4\nlater.mp4\n")
    files = Files(str(tmp_path / "run"))
    for expected in (["NotFound: there is no such file"], []):
        crawl_into(files, latest(files), [str(tmp_path / "list.txt")], CrawlConfig(), limit=None)
        rows = Relations(files, latest(files)).arrow("locations").to_pylist()
        assert [row["error"] for row in rows if row["status"] == "failed"] == expected
        assert len(rows) == 2
        if expected:
            footage_in(tmp_path, "later.mp4")
    before = latest(files).number
    crawl_into(files, latest(files), [str(tmp_path / "list.txt")], CrawlConfig(), limit=None)
    assert latest(files).number == before


def test_a_list_of_100_000_places_is_never_held(tmp_path: Path) -> None:
    with (tmp_path / "list.csv").open("w") as file:
        file.write("uri,licence,about\n")
        file.writelines(f"https://example.org/{number}.mp4,cc0,{'x' * 100}\n" for number in range(100_000))
    tracemalloc.start()
    count = sum(1 for _ in find([str(tmp_path / "list.csv")], CrawlConfig(), scratch=tmp_path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 100_000
    assert peak < 2**20
