"""Copies of real clips, through the encoder again: found; other clips of the same talking head: not called copies."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.backends.pyav_decode import Losses, decode_pictures, open_footage, picture_stream
from pipeline.stage import Row
from pipeline.stages.quality import QualityConfig, QualityStage
from tests.benchmarks.duplicates import COPIES, Frames, compared, encoded, measured

TALKING = ("LivePortrait_d20.mp4", "SadTalker_art_0__japanese.mp4", "video-retalking_2.mp4")
CLIP_FRAMES, SIDE = 62, 240


def halves(path: Path) -> list[Frames]:
    """Two stretches of a talking head that follow one another, small."""
    frames: Frames = []
    with open_footage(path) as container:
        for picture in decode_pictures(container, picture_stream(container), Losses()):
            whole = np.asarray(picture.frame.to_ndarray(format="rgb24"), dtype=np.uint8)
            frames.append(np.asarray(cv2.resize(whole, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8))
            if len(frames) == 2 * CLIP_FRAMES:
                break
    return [frames[:CLIP_FRAMES], frames[CLIP_FRAMES:]]


@pytest.fixture(scope="module")
def rows(footage: Path) -> list[Row]:
    stage = QualityStage(QualityConfig())
    found: list[Row] = []
    for name in TALKING:
        for half, frames in enumerate(halves(footage / "video" / name)):
            found.append(measured(f"{name}{half}", encoded(frames, crf=17), stage)[0])
            for way, (crf, change) in COPIES.items():
                found.append(measured(f"{name}{half}|{way}", encoded(change(frames), crf=crf), stage)[0])
    return compared(found)


@pytest.mark.parametrize("way", COPIES)
def test_copies_are_found_and_the_original_is_kept(rows: list[Row], way: str) -> None:
    known = {row["id"]: row for row in rows}
    originals = [name for name in known if "|" not in name]
    assert [known[f"{name}|{way}"]["group"] for name in originals] == [known[name]["group"] for name in originals]
    assert [known[f"{name}|{way}"]["duplicate_of"] for name in originals] == originals


def test_clips_of_one_talking_head_are_no_copies(rows: list[Row]) -> None:
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(row["group"], set()).add(row["id"].partition("|")[0])
    assert sorted(len(members) for members in groups.values()) == [1] * 2 * len(TALKING)
