"""The captions stage: rows of a model's answers, what they contradict, and one clip's fault that is not another's."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backends.caption_prompt import tag
from pipeline.backends.captioner import Asked, Reply
from pipeline.stage import BatchStage, Clip, ClipFrame, Row, Unmeasurable
from pipeline.stages.captions import CaptionsConfig, MeasurementsStage, ModelStage
from pipeline.stages.frames import FramesConfig, FramesStage, sampled, spacing_s, unstacked
from tests.pipeline.chat_loopback import caption

CLIP = Clip(
    id="0000000000000000_0_3880000",
    source_id="0000000000000000",
    shot_id="0000000000000000_0_3880000",
    start_us=0,
    end_us=3_880_000,
    frames=97,
    width=640,
    height=360,
    media_sha256="0" * 64,
    audio_sha256=None,
)


class Inputs:
    """What a clip stage may ask for, from memory."""

    def __init__(self, rows: dict[str, list[Row]], pictures: dict[str, NDArray[np.uint8]]) -> None:
        self._rows = rows
        self._pictures = pictures
        self.failed: dict[str, str] = {}

    def waveform(self) -> NDArray[np.float32]:
        raise AssertionError("no stage here listens")

    def rows(self, table: str) -> list[Row]:
        if table in self.failed:
            raise Unmeasurable(f"{table} failed: {self.failed[table]}")
        return self._rows[table]

    def picture(self, kind: str, sha256: str) -> NDArray[np.uint8]:
        return self._pictures[sha256]


def frames_row(count: int) -> tuple[Row, NDArray[np.uint8]]:
    row = {"indices": sampled(97, count), "width": 32, "height": 24, "frames_sha256": "f"}
    return row, np.random.default_rng(0).integers(0, 255, (24 * count, 32, 3), dtype=np.uint8)


def inputs(subjects: int = 1) -> Inputs:
    row, stack = frames_row(2)
    return Inputs({"frames": [row], "faces": [{"subjects": subjects}]}, {"f": stack})


class Says:
    """A captioner that is right about every clip but those it is told to refuse."""

    name = "says:1"

    def __init__(self, refuse: Sequence[str] = ()) -> None:
        self.refuse = refuse
        self.asked: list[Asked] = []

    def reply(self, asked: Sequence[Asked]) -> list[Reply]:
        self.asked += asked
        right = [Reply(key=one.key, text=caption(tag(one.key), "red")) for one in asked]
        return [Reply(key=one.key, text="I cannot help.") if one.key in self.refuse else one for one in right]


def clip(number: int) -> Clip:
    return Clip(**{**CLIP.__dict__, "id": f"{number:016x}_0_3880000"})


def test_a_row_says_what_was_asked_and_how() -> None:
    stage = ModelStage(CaptionsConfig(backend="server", tokens=300), Says())
    (row,) = stage.measure(CLIP, inputs()).rows["captions"]
    assert row["text"].startswith("A red wall")
    assert row["text_short"] == "A person before a red wall."
    assert row["word_count"] == len(row["text"].split())
    assert (row["contradictions"], row["contradiction"]) == (0, None)
    asked = json.loads(row["asked"])
    assert asked == {"attempts": 1, "frames": [24, 72], "size": [32, 24], "temperature": 0.0, "tokens": 300}
    assert stage.backend == f"says:1, {row['prompt']}"


def test_one_clips_fault_is_not_anothers() -> None:
    clips = [clip(number) for number in range(5)]
    said = Says(refuse=[clips[1].id])
    stage = ModelStage(CaptionsConfig(backend="server", attempts=2), said)
    assert isinstance(stage, BatchStage)
    given = [(one, inputs(subjects=number)) for number, one in enumerate(clips)]
    given[3][1].failed["frames"] = "broken"
    given[4][1].failed["faces"] = "broken"
    found = stage.measure_batch(given)
    assert list(map(str, (found[clips[1].id], found[clips[3].id]))) == [
        "no caption after 2 attempts: the answer is not for this clip: it names no clip",
        "frames failed: broken",
    ]
    rows: dict[str, Any] = {}
    for key, one in found.items():
        if not isinstance(one, Exception):
            rows[key] = one.rows["captions"][0]
            assert rows[key]["id"] == key
    assert rows[clips[0].id]["contradictions"] == 0
    assert rows[clips[2].id]["contradiction"] == "it speaks of 1 people, where 2 are seen"
    assert rows[clips[4].id]["contradictions"] is None
    assert "faces are not known" in rows[clips[4].id]["error"]
    assert [one.key for one in said.asked].count(clips[1].id) == 2
    with pytest.raises(Unmeasurable, match="no caption"):
        stage.measure(clips[1], inputs())


def test_captions_from_measurements_say_only_these() -> None:
    quality, faces = {"luma": 0.5, "motion": 0.005}, {"subjects": 2, "largest": 0.5}
    given = Inputs({"quality": [quality], "faces": [faces]}, {})
    (row,) = MeasurementsStage(CaptionsConfig()).measure(CLIP, given).rows["captions"]
    assert row["text"] == "A close shot of two people. The picture is evenly lit and nearly still."
    assert row["contradictions"] == 0


def test_frames_are_sampled_while_the_clip_is_decoded_and_read_back() -> None:
    meter = FramesStage(FramesConfig(count=3, longest_side=320)).start(CLIP)
    shown = [np.full((360, 640, 3), 2 * index, np.uint8) for index in range(97)]
    for index, frame in enumerate(shown):
        meter.add(index, ClipFrame(frame[..., 0], frame.view))
    found = meter.finish()
    (row,), (medium,) = found.rows["frames"], found.media
    assert (row["indices"], row["width"], row["height"]) == ([16, 48, 80], 320, 180)
    assert spacing_s(row) == pytest.approx(32 / 25)
    import cv2

    stack = cv2.imdecode(np.frombuffer(medium.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    frames = unstacked(stack.astype(np.uint8), row)
    assert [round(float(frame.mean())) for frame in frames] == [32, 96, 160]
    with pytest.raises(Unmeasurable, match="do not make a picture"):
        unstacked(stack[1:].astype(np.uint8), row)


@pytest.mark.parametrize(("frames", "count", "at"), [(97, 1, [48]), (2, 8, [0, 1]), (8, 4, [1, 3, 5, 7])])
def test_samples_lie_in_the_middle_of_equal_spans(frames: int, count: int, at: list[int]) -> None:
    assert sampled(frames, count) == at
