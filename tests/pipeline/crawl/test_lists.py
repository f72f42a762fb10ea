"""Lists: what they carry along, how long they may be, and what is wrong with them."""

import csv
import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.crawl.lists import read_list
from pipeline.crawl.place import Place
from pipeline.crawl.places import find
from pipeline.stages.options.crawl import CrawlConfig
from schemas.errors import UserError

text = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1)


def places(*inputs: str, **config: str) -> list[Place]:
    return list(find(list(inputs), CrawlConfig(**config), scratch=Path("nowhere")))


def test_parquet_carries_every_column(tmp_path: Path) -> None:
    table = pa.table(
        {
            "uri": ["https://example.com/a.mp4", "s3://bucket/b.mp4"],
            "licence": ["cc-by", None],
            "consent": [None, "yes"],
            "show": ["news", ""],
            "season": pa.array([3, None], pa.int32()),
            "tags": [["x", "y"], None],
        }
    )
    pq.write_table(table, tmp_path / "list.parquet")
    rows = places(str(tmp_path / "list.parquet"), licence="cc0", consent="asked")
    assert [(row.uri, row.path, row.licence, row.consent, row.extra) for row in rows] == [
        ("https://example.com/a.mp4", None, "cc-by", "asked", {"show": "news", "season": "3", "tags": '["x", "y"]'}),
        ("s3://bucket/b.mp4", None, "cc0", "yes", {}),
    ]


@given(st.lists(st.dictionaries(st.sampled_from(["licence", "consent", "show"]), text), max_size=5), text)
def test_every_form_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]], uri: str
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    rows = [{**row, "uri": f"https://example.com/{uri}"} for row in rows]
    with (folder / "l.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["uri", "licence", "consent", "show"])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ("uri", "licence", "consent", "show")
    pq.write_table(pa.table({n: pa.array([r.get(n) for r in rows], pa.string()) for n in names}), folder / "l.parquet")
    for name in ("l.csv", "l.jsonl", "l.parquet"):
        assert list(read_list(folder / name, name=name)) == rows


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("l.csv", b"uri,licence\na.mp4,cc0\n,cc0\n", "row 2: there is no 'uri'"),
        ("l.csv", b"uri\na.mp4,b,c\n", "row 1: has more values than the list has columns"),
        ("l.jsonl", b'{"uri": "a"}\n[1]\n', "row 2: there is no 'uri'"),
        ("l.jsonl", b'{"uri": "a"}\n{"uri\n', "after row 1: cannot be read"),
        ("l.txt", b"a\n\xff\xfe\n", "cannot be read"),
        ("l.parquet", b"PAR1 not really", "after row 0: cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_row(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=what) as caught:
        list(read_list(tmp_path / name, name=name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl", "parquet"])
def test_a_long_list_is_never_in_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"list.{suffix}"
    rows = [{"uri": f"https://example.com/{number:06}.mp4", "licence": "cc0"} for number in range(100_000)]
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        head = "uri,licence\n" if suffix == "csv" else ""
        path.write_text(head + "".join((f"{r['uri']},cc0\n" if head else f"{r['uri']}\n") for r in rows))
    del rows
    found = find([str(path)], CrawlConfig(), scratch=tmp_path)
    next(found)
    tracemalloc.start()
    try:
        seen = 1 + sum(1 for _ in found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == 100_000
    assert peak < 4 * 2**20


def test_a_row_names_files_here_and_one_that_is_missing_is_left_for_the_crawl_to_find(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("folder/b.mp4", "folder/a.mp4", "c.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text(f"folder\nc.mp4\nfile://{tmp_path}/c.mp4\nmissing.mp4\nftp://host/x.mp4\n")
    rows = places(str(tmp_path / "list.txt"))
    here = [f"{tmp_path}/{name}" for name in ("folder/a.mp4", "folder/b.mp4", "c.mp4", "c.mp4", "missing.mp4")]
    assert [row.uri for row in rows] == [*here, "ftp://host/x.mp4"]
    assert [row.path and str(row.path) for row in rows] == [*here, None]
