"""A small run to be judged: two clips of one person, and one that a rule rejects."""

import itertools
from pathlib import Path
from typing import Any

from pipeline.config import CurateConfig
from pipeline.decide.config import DecideConfig, ReferenceBounds
from pipeline.engine.decide_again import decide_again
from pipeline.engine.packing import pack_into
from pipeline.engine.sets import follow_verdicts
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, commit, latest
from pipeline.verdicts.journal import record
from pipeline.verdicts.verdict import Verdict
from tests.pipeline.synthetic_run import FakeClip, write_synthetic_run

GOOD = FakeClip(source=1, start_s=1, person="p_one", similarity=0.7)
OTHER = FakeClip(source=1, start_s=3, person="p_one", similarity=0.7)
BLURRED = FakeClip(source=1, start_s=5, person="p_one", similarity=0.7, quality={"sharpness": 0.01})
LONELY = FakeClip(source=2, start_s=7, person="p_two", similarity=0.7)
CONFIG = CurateConfig(
    decide=DecideConfig(
        subject=("quality.sharpness >= 0.2", "references.count >= 1", "captions.word_count >= 3"),
        sync=("speech.ratio >= 0.5",),
        references=ReferenceBounds(lower=0.5, upper=0.9),
        val_fraction=0.0,
    )
)

_numbers = itertools.count(1)


def write_run(folder: Path) -> Files:
    """Decided and packed once."""
    files = write_synthetic_run(folder, [GOOD, OTHER, BLURRED, LONELY], CONFIG)
    follow_and_pack(files)
    return files


def say(files: Files, kind: str, clip: FakeClip | None = None, reviewer: str = "Ann", **more: Any) -> str:
    """Write a verdict down; its id."""
    number = next(_numbers)
    about = {} if clip is None else {"clip_id": clip.key, "media_sha256": media_of(files, clip)}
    verdict = Verdict(id=f"{number:032x}", at_us=number, kind=kind, reviewer=reviewer, **{**about, **more})
    assert record(files, verdict)
    return verdict.id


def media_of(files: Files, clip: FakeClip) -> str:
    rows = Relations(files, latest(files)).connection.execute("SELECT media_sha256 FROM clips WHERE id = ?", [clip.key])
    return str(rows.fetchall()[0][0])


def follow_and_pack(files: Files) -> Snapshot:
    """What `humo pack` does."""
    base = latest(files)
    return commit(files, base, pack_into(files, follow_verdicts(Relations(files, base), CONFIG), CONFIG))


def verdict_of(files: Files, clip: FakeClip) -> dict[str, Any]:
    """The clip's decision in force."""
    cursor = Relations(files, latest(files)).connection.execute("SELECT * FROM decisions WHERE id = ?", [clip.key])
    names = [column[0] for column in cursor.description]
    return dict(zip(names, cursor.fetchall()[0], strict=True))


def decide_now(files: Files) -> None:
    """What `humo decide` does."""
    decide_again(Relations(files, latest(files)), CONFIG, dry_run=False)
