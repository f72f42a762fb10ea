"""Items that end their worker, or never end, are set aside with their reason; their neighbours are measured."""

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.engine.attempts import Attempts
from pipeline.engine.failure_limit import FailureLimit
from pipeline.engine.rows import Quarantined, unmeasured
from pipeline.engine.watchdog import Watchdog
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from schemas.command_line import COMMAND
from tests.pipeline.direct_run import humo_directly
from tests.pipeline.made_videos import numbered, steady, texture, write_video

FRAMES = 21
POISON = """
import ctypes, importlib.abc, importlib.util, sys, time
from pathlib import Path

def act(kind):
    if kind == "segfault":
        ctypes.string_at(0)
    if kind == "memory":
        hoard = []
        while True:
            hoard.append(b"x" * (1 << 28))
            time.sleep(0.05)
    if kind == "hang":
        time.sleep(3600)
    if kind == "raise":
        raise ValueError("a bad picture")

def poisoned(function, kind_of):
    def wrapped(*arguments):
        act(kind_of(*arguments))
        return function(*arguments)
    return wrapped

def number(clip):
    return round(clip.start_us / 40_000 / 21)

def poison_measuring():
    from pipeline.stages.quality import QualityStage
    from pipeline.stages.speech import SpeechStage
    in_frames, in_speech = {1: "segfault", 3: "memory", 5: "raise"}, {6: "hang"}
    QualityStage.start = poisoned(QualityStage.start, lambda self, clip: in_frames.get(number(clip)))
    SpeechStage.measure = poisoned(SpeechStage.measure, lambda self, clip, inputs: in_speech.get(number(clip)))

def poison_cutting():
    from pipeline.stages import shots
    bad = lambda source, *_: "segfault" if Path(source.path).name == "bad.mp4" else None
    shots.detect_shots = poisoned(shots.detect_shots, bad)

POISONS = {"pipeline.engine.measure": poison_measuring, "pipeline.engine.cut": poison_cutting}

class Poisoner(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        poison = POISONS.pop(name, None)
        if poison is None:
            return None
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), poison())
        return spec

sys.meta_path.insert(0, Poisoner())
"""
"""Python itself puts this into every process of the run; it waits for the passes to be imported."""


@pytest.mark.slow
def test_each_bad_item_alone_is_quarantined(tmp_path: Path) -> None:
    footage, patch = tmp_path / "footage", tmp_path / "patch"
    footage.mkdir()
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(POISON)
    scenes = [numbered(texture(scene), scene) for scene in range(8) for _ in range(FRAMES)]
    write_video(footage / "good.mp4", scenes, times_ms=steady(len(scenes)))
    write_video(footage / "bad.mp4", scenes[:FRAMES], times_ms=steady(FRAMES))
    settings = [
        "clips.frames=21",
        "clips.min_frames=17",
        "engine.clip_seconds=8",
        "engine.memory_mb=1000",
        "engine.attempts=1",
        # One that is started anew as often as it dies; a second would do none of the unit's clips.
        "engine.workers=1",
    ]
    line = [*COMMAND, "curate", str(footage), "--out", str(tmp_path / "run")]
    line += [part for setting in settings for part in ("--set", setting)]
    path = os.pathsep.join((str(patch), str(Path.cwd())))
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 1, done.stdout + done.stderr

    files = Files(str(tmp_path / "run"))
    relations = Relations(files, latest(files))
    sources = {row["status"]: row["error"] for row in relations.arrow("sources").to_pylist()}
    assert sources["failed"] == "quarantined at attempt 1 of 1: the worker died"
    clips = sorted(relations.arrow("clips").to_pylist(), key=lambda row: row["start_us"])
    number_of = {row["id"]: number for number, row in enumerate(clips)}
    assert len(clips) == 8
    errors: dict[str, dict[int, str]] = {}
    for table in ("quality", "faces", "speech"):
        failed = [row for row in relations.arrow(table).to_pylist() if row["status"] == "failed"]
        errors[table] = {number_of[row["id"]]: row["error"] for row in failed}
    assert errors["quality"] == {
        1: "quarantined at attempt 1 of 1: the worker died",
        3: "quarantined at attempt 1 of 1: the worker's memory passed 1000 MB",
        5: "ValueError: a bad picture",
    }
    assert errors["faces"].keys() == {1, 3}
    assert errors["speech"] == {6: "quarantined at attempt 1 of 1: no result within 8 s"}
    assert files.names("attempts") == []
    assert relations.arrow("quality").num_rows == relations.arrow("decisions").num_rows == 8

    retried = humo_directly("retry", tmp_path / "run")
    assert retried.code == 0, retried.text
    after = Relations(files, latest(files))
    assert [row["status"] for row in after.arrow("sources").to_pylist()] == ["ok", "ok"]
    assert after.arrow("quality").num_rows == 9
    before = {row["id"]: row for row in relations.arrow("quality").to_pylist() if row["status"] == "ok"}
    now = {row["id"]: row for row in after.arrow("quality").to_pylist()}
    assert {row["status"] for row in now.values()} == {"ok"}
    assert {id_: now[id_] for id_ in before} == before, "what was measured is not measured again, seconds and all"


def test_the_row_of_what_was_set_aside_counts_the_workers_that_died(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    # Each attempt is that of a worker of its own, and left by none of them before the last one has come.
    with ExitStack() as workers:
        for deaths in range(2):
            attempts = Attempts(files, "session", Watchdog(files, memory_mb=100_000))
            assert workers.enter_context(attempts.at("a clip", seconds=3600, limit=2)) == deaths
        with pytest.raises(Quarantined) as refused, attempts.at("a clip", seconds=3600, limit=2):
            pass
    first, retried = (
        unmeasured("c", refused.value, backend="b", fingerprint="f", seconds=0.0, attempt=1 + retries)["attempt"]
        for retries in (0, 1)
    )
    assert (first, retried) == (2, 3)


def test_a_run_whose_sources_fail_stops_and_says_why() -> None:
    limit = FailureLimit(share=0.5, seen_first=4)
    assert [limit.passed(error) for error in ("no space", None, "no space")] == [None, None, None]
    assert (stop := limit.passed("no space"))
    assert "3 of 4 sources failed, 3 of them with: no space" in stop
    patient = FailureLimit(share=1.0, seen_first=1)
    assert [patient.passed("no space") for _ in range(9)] == [None] * 9
