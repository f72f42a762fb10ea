"""Takedown and clean: what is removed is nowhere in the run, the rest is as it was, and nothing comes back."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.engine.clean import MEDIA_COLUMNS
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from pipeline.verdicts.journal import record
from pipeline.verdicts.verdict import Verdict
from tests.pipeline.direct_run import humo_directly
from tests.pipeline.engine.test_film import curate, rows_of, shards_of


def everything_said(run: Path) -> Iterator[str]:
    """All text, decoded rows, and member names and texts of shards in a run, with the names of its files."""
    for path in sorted(run.rglob("*")):
        if not path.is_file():
            continue
        yield str(path.relative_to(run))
        if path.suffix == ".parquet":
            yield json.dumps(pq.read_table(path).to_pylist(), default=lambda value: value.hex())
        elif path.suffix == ".json":
            yield path.read_text()
        elif path.suffix == ".tar":
            with tarfile.open(path) as tar:
                for member in tar:
                    yield member.name
                    extracted = tar.extractfile(member)
                    assert extracted is not None
                    data = extracted.read()
                    yield hashlib.sha256(data).hexdigest()
                    if member.name.endswith((".json", ".txt")):
                        yield data.decode()


def raw(run: Path) -> dict[str, bytes]:
    """Every byte of a run, by file; its name too."""
    paths = [path for path in sorted(run.rglob("*")) if path.is_file()]
    return {name: name.encode() + path.read_bytes() for path in paths if (name := str(path.relative_to(run)))}


def plant(run: Path, clip: dict[str, Any], needles: list[bytes]) -> None:
    """What killed commands, a report and reviewers leave of a clip beside its rows and media."""
    source = clip["source_id"]
    for name in (
        ".tmp/killed/vectors.lance/data/0.lance",
        ".tmp/killed/vectors.f32",
        f"pending/{source}/faces-0123456789abcdef-0.parquet",
        f"fetching/{source}",
        "attempts/0/1.0",
        "report/clips/page.html",
        f"report/frames/{clip['media_sha256']}.jpg",
    ):
        path = run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"|".join(needles))
    about = {"clip_id": clip["id"], "media_sha256": clip["media_sha256"], "note": "a secret"}
    said = {"id": "3" * 32, "at_us": 1, "kind": "reject", "reviewer": "ada", **about}
    record(Files(str(run)), Verdict.model_validate(said))


def media_of(relations: Relations, clips: list[str]) -> set[str]:
    found: set[str] = set()
    for table, column in MEDIA_COLUMNS.values():
        for row in relations.arrow(table).to_pylist():
            if (row.get("clip_id") or row["id"]) in clips and row[column]:
                found.add(row[column])
    return found


@pytest.fixture
def run(film_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(film_run, tmp_path / "run", ignore=shutil.ignore_patterns(".tmp")))


def raw_hits(run: Path, needles: list[bytes]) -> set[str]:
    return {name for name, data in raw(run).items() if any(needle in data for needle in needles)}


def test_a_person_is_gone_from_every_byte_and_stays_away(film: Path, run: Path) -> None:
    files = Files(str(run))
    relations = Relations(files, latest(files))
    query = """SELECT identity, list(DISTINCT clip_id) FROM identities WHERE identity IS NOT NULL
               GROUP BY identity ORDER BY count(*) DESC"""
    (person, theirs), (other, _others), *_ = relations.connection.execute(query).fetchall()
    embeddings = [
        json.dumps(row["embedding"]) for row in relations.arrow("tracks").to_pylist() if row["clip_id"] in theirs
    ]
    media = media_of(relations, theirs)
    kept_before = {row["id"] for row in relations.arrow("decisions").to_pylist() if row["outcome"] == "keep"}
    assert min(len(theirs), len(embeddings), len(media) // 3) > 8
    of_theirs = [row for row in relations.arrow("tracks").to_pylist() if row["clip_id"] in theirs]
    vectors = [np.asarray(row["embedding"], np.float32).tobytes() for row in of_theirs if row["embedding"]]
    needles = [*(text.encode() for text in (person, *theirs, *media, "a secret")), *vectors]
    (clip,) = (row for row in relations.arrow("clips").to_pylist() if row["id"] == theirs[0])
    plant(run, clip, needles)
    assert len(raw_hits(run, needles)) > 8, "the search finds what is there"

    done = humo_directly("takedown", run, "--identity", person)
    assert done.code == 0, done.text
    text = "\n".join(everything_said(run))
    assert other in text, "the search finds what is there"
    for needle in (person, *theirs, *media, *embeddings):
        assert needle not in text
    assert raw_hits(run, needles) == set()
    assert not (run / "report").exists() or not list((run / "report").rglob("*.html"))
    assert humo_directly("verify", run).code == 0
    now = Relations(files, latest(files))
    kept = {row["id"] for row in now.arrow("decisions").to_pylist() if row["outcome"] == "keep"}
    assert kept == kept_before - set(theirs)

    rows, shards = rows_of(run), shards_of(run)
    assert "0 of them computed now" in curate(run, film)
    assert (rows_of(run), shards_of(run)) == (rows, shards)


def test_a_removed_source_is_not_taken_in_again(film: Path, run: Path) -> None:
    files = Files(str(run))
    before = shards_of(run)
    source = min(row["id"] for row in Relations(files, latest(files)).arrow("sources").to_pylist())
    done = humo_directly("takedown", run, "--source", source)
    assert done.code == 0, done.text
    assert source not in "\n".join(
        part for part in everything_said(run) if "snapshots/" not in part and '"removed"' not in part
    )
    assert humo_directly("verify", run).code == 0
    curate(run, film)
    assert source not in Relations(files, latest(files)).arrow("ledger")["id"].to_pylist()
    assert shards_of(run) != before


def removable(run: Path, index: list[dict[str, Any]]) -> tuple[str, set[str]]:
    """A sample after which nobody is named, with the shards that hold it or show it as a reference: not all of them."""
    connection = Relations(files := Files(str(run)), latest(files)).connection
    named = connection.execute("SELECT min(clip_id) FROM identities GROUP BY identity").fetchall()
    query = """SELECT c.id FROM (SELECT id, unnest(chosen || speaker_chosen) AS candidate FROM "references") AS c
               JOIN candidates ON candidates.id = c.candidate WHERE reference_clip_id = ?"""
    for row in index:
        shown_in = [id_ for (id_,) in connection.execute(query, [row["key"]]).fetchall()]
        concerned = {other["shard"] for other in index if other["key"] in (row["key"], *shown_in)}
        if (row["key"],) not in named and len(concerned) < len({other["shard"] for other in index}):
            return row["key"], concerned
    raise AssertionError("every sample is shown in every shard")


def test_a_sample_is_removed_and_other_shards_keep_their_hashes(run: Path) -> None:
    index = pq.read_table(run / "shards" / "index.parquet").to_pylist()
    before = shards_of(run)
    key, concerned = removable(run, index)
    done = humo_directly("takedown", run, "--sample", key)
    assert done.code == 0, done.text
    assert key not in "\n".join(part for part in everything_said(run) if '"removed"' not in part)
    after = shards_of(run)
    assert 0 < len(concerned) < len(before), "some shards are concerned, and others are not"
    assert before.keys() - after.keys() == concerned
    assert all(after[url] == sha256 for url, sha256 in before.items() if url not in concerned)
    assert humo_directly("takedown", run, "--sample", key).code == 2


def test_an_interrupted_takedown_is_ended_first(film: Path, run: Path) -> None:
    (run / "takedowns").mkdir()
    mark = run / "takedowns" / "unfinished.json"
    number = latest(Files(str(run))).number
    mark.write_text(json.dumps({"base": number}))
    refused = humo_directly("curate", film, "--out", run)
    assert refused.code == 2
    assert "a takedown was interrupted" in refused.text
    before_the_commit = humo_directly("takedown", run)
    assert before_the_commit.code == 2
    assert "before it removed anything" in before_the_commit.text
    mark.write_text(json.dumps({"base": number - 1}))
    assert humo_directly("takedown", run).code == 0
    assert not mark.exists()
    assert "0 of them computed now" in curate(run, film)


def test_clean_deletes_nothing_that_is_needed(film: Path, run: Path) -> None:
    rows, shards = rows_of(run), shards_of(run)
    (run / "media" / "clips" / "00").mkdir(exist_ok=True)
    stray = run / "media" / "clips" / "00" / f"{'0' * 64}.mp4"
    stray.write_bytes(b"left over")
    dry = humo_directly("clean", run, "--dry-run")
    assert dry.code == 0
    assert stray.exists()
    done = humo_directly("clean", run)
    assert done.code == 0, done.text
    assert done.text.split(" files")[0] == dry.text.split(" files")[0]
    assert not stray.exists()
    assert (rows_of(run), shards_of(run)) == (rows, shards)
    assert humo_directly("verify", run).code == 0
    assert "0 of them computed now" in curate(run, film)
