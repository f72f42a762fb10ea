"""Crawling: what inputs name, what lists carry along, and what is refused."""

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.crawl.places import find
from pipeline.engine.locations import crawl_into, sources_of
from pipeline.engine.rows import completed
from pipeline.stages.crawl import CrawlConfig, source_id, strictest
from pipeline.store.files import Files
from pipeline.store.parts import part_path, write_part
from pipeline.store.relations import Relations
from pipeline.store.snapshots import commit, latest
from schemas.errors import UserError


def footage_in(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def found(*inputs: Path | str, **config: str) -> list[tuple[str, str | None]]:
    return [(place.path.name, place.licence) for place in find([str(one) for one in inputs], CrawlConfig(**config))]


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


def test_other_schemes_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="ftp://host/a.mp4"):
        found("ftp://host/a.mp4")


def test_lists_carry_licence_consent_and_further_columns(tmp_path: Path) -> None:
    footage_in(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "list.csv").write_text("uri,licence,consent,show\na.mp4,cc-by,yes,news\nb.mp4,,,\n")
    rows = list(find([str(tmp_path / "list.csv")], CrawlConfig(licence="cc0")))
    assert [(row.path.name, row.licence, row.consent, row.extra) for row in rows] == [
        ("a.mp4", "cc-by", "yes", {"show": "news"}),
        ("b.mp4", "cc0", None, {}),
    ]
    lines = [{"uri": "a.mp4", "licence": "cc-by"}, {"uri": "b.mp4"}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert found(tmp_path / "list.jsonl") == [("a.mp4", "cc-by"), ("b.mp4", None)]
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
    crawl_into(files, latest(files), [str(folder)], CrawlConfig())
    relations = Relations(files, latest(files))
    expected = hashlib.sha256(b"a.mp4").hexdigest()[:16]
    assert (
        [source.id for source, _ in sources_of(relations)]
        == [expected]
        == [source_id(hashlib.sha256(b"a.mp4").hexdigest())]
    )
    assert relations.connection.execute("SELECT count(*) FROM locations").fetchall() == [(2,)]


def test_a_changed_file_is_a_new_source_and_its_place_moves_along(tmp_path: Path) -> None:
    folder = footage_in(tmp_path / "footage", "a.mp4")
    files = Files(str(tmp_path / "run"))
    for content in (b"one", b"two"):
        (folder / "a.mp4").write_bytes(content)
        crawl_into(files, latest(files), [str(folder)], CrawlConfig())
    assert [source.id for source, _ in sources_of(Relations(files, latest(files)))] == [
        hashlib.sha256(b"two").hexdigest()[:16]
    ]


def test_the_run_folder_is_no_footage(tmp_path: Path) -> None:
    footage_in(tmp_path, "a.mp4", "run/media/clips/00/x.mp4")
    files = Files(str(tmp_path / "run"))
    snapshot = crawl_into(files, latest(files), [str(tmp_path)], CrawlConfig()).snapshot
    assert len(snapshot.parts["locations"]) == 1


def test_a_source_that_lies_nowhere_any_more_leaves_with_its_rows(tmp_path: Path) -> None:
    folder = footage_in(tmp_path / "footage", "a.mp4")
    files = Files(str(tmp_path / "run"))
    first = crawl_into(files, latest(files), [str(folder)], CrawlConfig()).snapshot
    ((source, there),) = sources_of(Relations(files, first))
    assert there
    part = part_path("sources", "f", "d")
    write_part(files, "sources", part, [completed({"id": source.id}, backend="test", fingerprint="f", seconds=0.0)])
    measured = commit(files, first, first.with_sources({source.id: {"sources": [part]}}))
    (folder / "a.mp4").write_bytes(b"another film")
    assert [there for _, there in sources_of(Relations(files, measured))] == [False]
    after = crawl_into(files, measured, [str(folder)], CrawlConfig()).snapshot
    assert source.id not in after.parts["sources"]
