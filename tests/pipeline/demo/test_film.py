"""The film is what its truth table says: seen by the real face detector, heard by the real voice detector."""

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from pipeline.backends.mouth_motion import Box, MouthMotion
from pipeline.backends.mouth_sync import SyncMeasure, find_offset
from pipeline.backends.silero_voice import SileroVoice
from pipeline.demo.film import render_film, render_shot, write_reel
from pipeline.demo.portraits import load_portraits, posed
from pipeline.demo.script import LATE_FRAMES, write_script
from pipeline.demo.truth import TrueShot, Truth, read_truth, write_truth
from schemas.errors import UserError

FRAME_US = 40_000
CLIP_FRAMES = 97


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A shot after decoding."""

    shot: TrueShot
    gray: list[NDArray[np.uint8]]
    boxes: list[Box | None]
    waveform: NDArray[np.float32]
    """Mono at 16 kHz."""


@pytest.fixture(scope="module")
def truth(film: Path) -> Truth:
    return read_truth(film / "truth.json")


@pytest.fixture(scope="module")
def seen(film: Path, truth: Truth) -> dict[str, Seen]:
    """Every shot, decoded, with the largest face of every second frame, which stands for the next one too."""
    cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"))
    result = {}
    for reel in truth.reels:
        frames, sound = _decoded(film / reel.file)
        assert len(frames) == reel.frames
        assert abs(len(sound) - 640 * reel.frames) < 640, "sound and picture end together"
        for shot in reel.shots:
            first, last = shot.start_us // FRAME_US, shot.end_us // FRAME_US
            gray = frames[first:last]
            boxes = [box for frame in gray[::2] for box in [_face(cascade, frame)] * 2][: len(gray)]
            result[shot.id] = Seen(shot=shot, gray=gray, boxes=boxes, waveform=sound[first * 640 : last * 640])
    return result


@pytest.fixture(scope="module")
def synced(seen: dict[str, Seen]) -> dict[str, SyncMeasure]:
    """Sync of the middle 97 frames of every shot."""
    result = {}
    for name, one in seen.items():
        first = (len(one.gray) - CLIP_FRAMES) // 2
        span = slice(first, first + CLIP_FRAMES)
        follower = MouthMotion()
        mouth = np.array([follower.add(*pair) for pair in zip(one.gray[span], one.boxes[span], strict=True)])
        sound = one.waveform[first * 640 : (first + CLIP_FRAMES) * 640]
        result[name] = find_offset(mouth, sound, seed_key=name)
    return result


def _decoded(path: Path) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    with av.open(str(path)) as container:
        gray = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray()[0] for frame in container.decode(audio=0) if frame.pts >= 0]
    return gray, resample_poly(np.concatenate(parts), 1, 3).astype(np.float32)


def _face(cascade: cv2.CascadeClassifier, gray: NDArray[np.uint8]) -> Box | None:
    half = cv2.resize(gray, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found = cascade.detectMultiScale(half, scaleFactor=1.15, minNeighbors=4, minSize=(40, 40))
    if not len(found):
        return None
    x, y, width, height = max(found, key=lambda box: box[2])
    side = half.shape[0]
    return x / side, y / side, (x + width) / side, (y + height) / side


def _of(kind: str, seen: dict[str, Seen]) -> list[Seen]:
    return [one for one in seen.values() if one.shot.kind == kind]


def test_every_planted_shot_is_there_and_gives_exactly_one_clip(truth: Truth) -> None:
    kinds = [shot.kind for shot in truth.shots]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "good": 22, "faceless": 1, "silent": 1, "late": 2, "blurred": 1, "black": 1, "duplicate": 1,
    }  # fmt: skip
    for shot in truth.shots:
        assert CLIP_FRAMES < (shot.end_us - shot.start_us) // FRAME_US < 2 * CLIP_FRAMES
    assert sum(len(reel.dissolves_us) for reel in truth.reels) == 1
    assert sum(len(shot.flash_us) for shot in truth.shots) == 1
    assert 110 < sum(reel.frames for reel in truth.reels) / truth.fps < 130


def test_enough_good_seconds_of_both_people(truth: Truth) -> None:
    good = [shot for shot in truth.shots if shot.kind == "good"]
    people = [shot.person for shot in good]
    assert len(good) * CLIP_FRAMES / truth.fps >= 70
    assert min(people.count("collins"), people.count("hopper")) >= 10


def test_looks_are_shared_by_nobody_but_duplicates(truth: Truth) -> None:
    by_id = {shot.id: shot for shot in truth.shots}
    own = [shot.look for shot in truth.shots if shot.duplicate_of is None]
    assert len(own) == len(set(own))
    copies = [shot for shot in truth.shots if shot.duplicate_of]
    assert copies
    for copy in copies:
        original = by_id[copy.duplicate_of or ""]
        assert (copy.look, copy.person) == (original.look, original.person)
        assert copy.reel != original.reel


def test_shots_and_dissolves_cover_each_reel(truth: Truth) -> None:
    for reel in truth.reels:
        spans = sorted([(shot.start_us, shot.end_us) for shot in reel.shots] + list(reel.dissolves_us))
        assert spans[0][0] == 0
        assert spans[-1][1] == reel.frames * FRAME_US
        assert all(before[1] == after[0] for before, after in pairwise(spans))


def test_the_detector_finds_the_faces(seen: dict[str, Seen]) -> None:
    for one in seen.values():
        found = np.mean([box is not None for box in one.boxes])
        if one.shot.person is None:
            assert found == 0, one.shot.id
        elif one.shot.kind == "good":
            assert found >= 0.95, one.shot.id
            heights = [box[3] - box[1] for box in one.boxes if box]
            assert np.median(heights) > 0.45, "the faces are large"


def test_speech_is_heard_where_somebody_speaks(seen: dict[str, Seen]) -> None:
    voice = SileroVoice()
    for one in seen.values():
        ratio = voice.measure(one.waveform).ratio
        assert ratio > 0.6 if one.shot.speaking else ratio == 0, (one.shot.id, ratio)


def test_no_two_shots_say_the_same(seen: dict[str, Seen]) -> None:
    spoken = [one for one in seen.values() if one.shot.speaking and one.shot.duplicate_of is None]
    waves = np.array([one.waveform[: 95 * 640] for one in spoken])
    alike = np.corrcoef(waves) - np.eye(len(waves))
    assert np.abs(alike).max() < 0.2


def test_good_shots_are_in_step(synced: dict[str, SyncMeasure], truth: Truth) -> None:
    good = [synced[shot.id] for shot in truth.shots if shot.kind == "good"]
    significant = [one for one in good if one.p_value is not None and one.p_value <= 0.005]
    assert len(significant) >= 0.9 * len(good)
    assert all(abs(one.offset_frames or 0) <= 1 for one in significant)


def test_late_sound_is_found_late(synced: dict[str, SyncMeasure], truth: Truth) -> None:
    late = [synced[shot.id] for shot in truth.shots if shot.kind == "late"]
    assert late
    for one in late:
        assert abs((one.offset_frames or 0) - LATE_FRAMES) <= 1
        assert (one.p_value or 1) <= 0.005


def test_sync_is_unknown_where_it_cannot_be_told(synced: dict[str, SyncMeasure], truth: Truth) -> None:
    for shot in truth.shots:
        if shot.kind in ("faceless", "black", "silent"):
            assert synced[shot.id].offset_frames is None
            assert synced[shot.id].cause


def test_planted_pictures_are_as_planted(seen: dict[str, Seen]) -> None:
    def sharpness(one: Seen) -> float:
        return float(np.mean([cv2.Laplacian(frame, cv2.CV_32F).var() for frame in one.gray[::10]]))

    good = _of("good", seen)
    luma = [float(np.mean(one.gray)) / 255 for one in good]
    assert 0.1 < min(luma) <= max(luma) < 0.8
    assert float(np.mean(_of("black", seen)[0].gray)) / 255 < 0.02
    assert sharpness(_of("blurred", seen)[0]) < 0.1 * min(sharpness(one) for one in good)
    for one in good:
        for start, end in one.shot.flash_us:
            first = (start - one.shot.start_us) // FRAME_US
            flash = one.gray[first : first + (end - start) // FRAME_US]
            assert np.mean(flash) > 240
            assert np.mean(one.gray[first - 1]) < 200


def test_a_shot_renders_to_the_same_bytes_again(tmp_path: Path) -> None:
    assert write_script(0) == write_script(0)
    assert write_script(0) != write_script(1)
    shot = write_script(0)[0][1]
    files = []
    for name in ("a.mp4", "b.mp4"):
        rendered = render_shot(shot, load_portraits())
        write_reel(tmp_path / name, rendered.frames, rendered.waveform_s)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_an_open_mouth_is_darker_and_moves_nothing_above_the_nose() -> None:
    for portrait in load_portraits().values():
        shut, wide = (posed(portrait, opening=opening, rounding=0, blink=0) for opening in (0.0, 0.9))
        x, y, half_width = (round(value) for value in portrait.anatomy.mouth)
        hole = np.s_[y + 4 : y + 4 + half_width // 2, x - half_width // 4 : x + half_width // 4, :3]
        assert wide[hole].mean() < 0.6 * shut[hole].mean()
        nose = int(portrait.anatomy.nose_y)
        assert np.array_equal(wide[:nose], shut[:nose])


def test_a_truth_table_reads_back_and_a_broken_one_is_refused(truth: Truth, tmp_path: Path) -> None:
    assert read_truth(write_truth(truth, tmp_path)) == truth
    (tmp_path / "truth.json").write_text('{"schema": "humo.film/9"}')
    with pytest.raises(UserError, match="not the truth table"):
        read_truth(tmp_path / "truth.json")
    with pytest.raises(UserError, match="missing"):
        read_truth(tmp_path / "elsewhere.json")


@pytest.mark.parametrize("package", ["skimage", "matplotlib"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install -e '.\[demo\]'"):
        render_film(tmp_path)
