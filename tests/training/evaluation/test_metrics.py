"""Known answers: every metric moves the right way on pairs made for it."""

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import pytest

from pipeline.backends.classical_descriptor import ClassicalDescriptor
from training.evaluation.clip import Faces, GeneratedClip
from training.evaluation.config import EvaluationConfig
from training.evaluation.materials import Materials
from training.evaluation.metrics.copy_paste import CopyPaste
from training.evaluation.metrics.identity import Identity
from training.evaluation.metrics.lip_motion import LipMotion
from training.evaluation.metrics.metric import NotMeasured
from training.evaluation.metrics.motion import Flicker, Motion
from training.evaluation.metrics.registry import build
from training.evaluation.metrics.sharpness import Sharpness
from training.evaluation.metrics.sync import Sync, about_sync

Filmed = Callable[[str, int], GeneratedClip]


def given(*references: np.ndarray, speech: np.ndarray | None = None) -> Materials:
    return Materials("case", "a person speaks", references, speech)


def measured(metric: object, clip: GeneratedClip, materials: Materials) -> dict[str, float]:
    return dict(metric.measure(clip, materials))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Identity(ClassicalDescriptor(), backend="haar+classical(weak)", weights=None, licence="Apache-2.0")


def crossed(one: np.ndarray, other: np.ndarray, faces: Faces) -> np.ndarray:
    """Half of another's face over somebody's."""
    x0, y0, x1, y1 = (round(value * 256) for value in faces.largest(one).box)
    a0, b0, a1, b1 = (round(value * 256) for value in faces.largest(other).box)
    laid = cv2.resize(other[b0:b1, a0:a1], (x1 - x0, y1 - y0))
    mixed = one.copy()
    mixed[y0:y1, x0:x1] = cv2.addWeighted(one[y0:y1, x0:x1], 0.5, laid, 0.5, 0)
    return mixed


def test_identity_orders_oneself_a_lookalike_and_a_stranger(identity: Identity, filmed: Filmed, faces: Faces) -> None:
    person, again, stranger = filmed("collins", 0), filmed("collins", 1), filmed("hopper", 0)
    lookalike = crossed(again.frames_thwc[30], stranger.frames_thwc[30], faces)
    oneself, like, other = (
        measured(identity, person, given(reference))["identity"]
        for reference in (again.frames_thwc[30], lookalike, stranger.frames_thwc[30])
    )
    assert oneself > like + 0.02
    assert like > other + 0.02


def test_one_strange_frame_is_the_worst_and_a_missing_face_is_counted(identity: Identity, filmed: Filmed) -> None:
    person, stranger = filmed("collins", 0), filmed("hopper", 0)
    reference = given(person.frames_thwc[40])
    steady = measured(identity, person, reference)
    frames = person.frames_thwc.copy()
    frames[24:48] = stranger.frames_thwc[24:48]
    swapped = measured(identity, GeneratedClip(frames, 25.0, person.finder), reference)
    assert swapped["identity_worst"] < steady["identity_worst"] - 0.1
    frames = person.frames_thwc.copy()
    frames[48:] = 128
    half = measured(identity, GeneratedClip(frames, 25.0, person.finder), reference)
    assert steady["face_seen"] == 1
    assert 0.4 < half["face_seen"] < 0.75
    empty = measured(identity, GeneratedClip(np.full_like(frames, 128), 25.0, person.finder), reference)
    assert empty["face_seen"] == 0
    assert str(empty["identity"]) == "no face is found in the video"


def test_lip_motion_falls_with_each_shift_of_the_audio(filmed: Filmed, talk: Callable) -> None:
    scores, offsets = [], []
    for shift in (0, 1, 2, 3, 4, 8):
        found = []
        for person, number in (("collins", 0), ("collins", 1), ("hopper", 0), ("hopper", 1)):
            late = np.concatenate([np.zeros(640 * shift, np.float32), talk(person, number)[1]])
            found.append(measured(LipMotion(), filmed(person, number), given(speech=late)))
        scores.append(np.mean([one["lip_motion"] for one in found]))
        offsets.append(np.median([one["lip_offset"] for one in found]))
    assert scores[0] > 0.6
    assert all(after < before - 0.05 for before, after in pairwise(scores[:5])), scores
    # Further off it stays where chance is: syllables come four times a second.
    assert scores[5] < scores[0] / 3
    assert offsets == pytest.approx([0, 1, 2, 3, 4, 8], abs=1)


def test_lip_motion_is_told_from_a_video_of_another_rate(filmed: Filmed, talk: Callable) -> None:
    clip, speech = filmed("collins", 0), talk("collins", 0)[1]
    halved = GeneratedClip(clip.frames_thwc[::2], 12.5, clip.finder)
    assert measured(LipMotion(), halved, given(speech=speech))["lip_motion"] > 0.3
    with pytest.raises(NotMeasured, match="no speech"):
        LipMotion().measure(clip, given())
    frozen = GeneratedClip(np.repeat(clip.frames_thwc[:1], 77, axis=0), 25.0, clip.finder)
    assert measured(LipMotion(), frozen, given(speech=speech))["lip_motion"] < 0.3
    with pytest.raises(NotMeasured, match="measured in 0%"):
        LipMotion().measure(GeneratedClip(np.full_like(clip.frames_thwc, 90), 25.0, clip.finder), given(speech=speech))


def test_copy_paste_is_highest_for_a_pasted_reference(filmed: Filmed) -> None:
    reference = filmed("collins", 0).frames_thwc[30]
    pasted = np.full((17, 256, 448, 3), 255, np.uint8)
    pasted[:, 28:228, 124:324] = cv2.resize(reference, (200, 200), interpolation=cv2.INTER_AREA)
    copied, same_person, stranger = (
        measured(CopyPaste(), clip, given(reference))
        for clip in (
            GeneratedClip(pasted, 25.0, filmed("collins", 0).finder),
            filmed("collins", 1),
            filmed("hopper", 0),
        )
    )
    for name in ("copied_background", "copied_pose"):
        assert copied[name] > 0.9
        assert copied[name] > max(same_person[name], stranger[name]) + 0.2
    # The person in the same pose before another ground: the pose came along, the ground did not.
    other = reference.copy()
    x0, y0, x1, y1 = (round(value * 256) for value in filmed("collins", 0).finder.largest(reference).box)
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8), (0, 0), 6)
    other[:] = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)
    other[y0:y1, x0:x1] = reference[y0:y1, x0:x1]
    moved = measured(
        CopyPaste(), GeneratedClip(other[None].repeat(5, 0), 25.0, filmed("collins", 0).finder), given(reference)
    )
    assert moved["copied_pose"] > 0.9
    assert moved["copied_background"] < 0.5


def textured(shift: Callable[[int], float], frames: int = 25, fps: float = 25.0) -> GeneratedClip:
    """A textured picture, moved to the right by so many pixels in each frame."""
    ground = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (128, 512), np.uint8), (0, 0), 3)
    ground = cv2.normalize(ground, None, 0, 255, cv2.NORM_MINMAX)
    pictures = []
    for index in range(frames):
        transform = np.array([[1, 0, shift(index) - 150], [0, 1, 0]], np.float64)
        pictures.append(cv2.warpAffine(ground, transform, (128, 128)))
    return GeneratedClip(np.stack(pictures)[..., None].repeat(3, -1), fps, None)  # type: ignore[arg-type]


def test_motion_has_its_true_speed_and_smoothness_falls_with_jerks() -> None:
    steady = measured(Motion(), textured(lambda index: 2.0 * index), given())
    assert steady["motion"] == pytest.approx(2 / 128 * 25, rel=0.1)
    double = measured(Motion(), textured(lambda index: 2.0 * index, fps=50.0), given())
    assert double["motion"] == pytest.approx(2 * steady["motion"])
    jerky = measured(Motion(), textured(lambda index: 4.0 * (index // 2)), given())
    assert jerky["motion"] == pytest.approx(steady["motion"], rel=0.1)
    assert jerky["smoothness"] < steady["smoothness"] - 0.3
    still = measured(Motion(), textured(lambda index: 0.0), given())
    assert still["motion"] < 0.001
    assert str(still["smoothness"]) == "nothing moves"


def lit(levels: list[float]) -> GeneratedClip:
    clip = textured(lambda index: 0.0, frames=len(levels))
    frames = clip.frames_thwc * 0.5 + np.array(levels)[:, None, None, None]
    return GeneratedClip(frames.round().astype(np.uint8), 25.0, clip.finder)


def test_flicker_is_light_that_comes_and_goes_not_light_that_rises() -> None:
    there_and_back = measured(Flicker(), lit([40.0 + 6 * (index % 2) for index in range(20)]), given())["flicker"]
    weaker = measured(Flicker(), lit([40.0 + 2 * (index % 2) for index in range(20)]), given())["flicker"]
    rising = measured(Flicker(), lit([40.0 + 2 * index for index in range(20)]), given())["flicker"]
    assert there_and_back == pytest.approx(6, abs=0.3)
    assert weaker == pytest.approx(2, abs=0.3)
    assert rising < 0.3


def test_sharpness_falls_with_each_blur(filmed: Filmed) -> None:
    clip = filmed("hopper", 0)
    values = [measured(Sharpness(), clip, given())["sharpness"]]
    for sigma in (1.0, 2.0, 4.0):
        blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in clip.frames_thwc[::16]])
        values.append(measured(Sharpness(), GeneratedClip(blurred, 25.0, clip.finder), given())["sharpness"])
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] + 0.2


class Wave:
    """Embeds a voice as its loudness over the last moments, and the mouth as what the test says."""

    name = "wave"

    def __init__(self, mouth_td: np.ndarray) -> None:
        self._mouth_td = mouth_td

    def embed(self, clip: GeneratedClip, speech_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moments = speech_s.reshape(-1, 640)
        return self._mouth_td, np.stack([moments[:, :8].mean(1), moments[:, 8:16].mean(1)], axis=1)


def test_sync_distance_and_confidence_have_their_known_values() -> None:
    random = np.random.default_rng(0)
    voice = random.standard_normal((100, 2)).astype(np.float32)
    speech = np.zeros((100, 640), np.float32)
    speech[:, :8], speech[:, 8:16] = voice[:, :1], voice[:, 1:]
    clip = GeneratedClip(np.zeros((100, 8, 8, 3), np.uint8), 25.0, None)  # type: ignore[arg-type]
    about = about_sync(backend="test", weights="none", licence="none")
    found = []
    for shift in (0, 3):
        mouth = np.roll(voice, -shift, axis=0) + np.float32([3, 4]) * np.float32(0.01)
        found.append(measured(Sync(Wave(mouth), about), clip, given(speech=speech.ravel())))
    # The mouth stands off by (0.03, 0.04) at its own offset, wherever that is.
    assert found[0]["sync_d"] == pytest.approx(0.05, abs=1e-4)
    assert found[1]["sync_d"] == pytest.approx(0.05, abs=1e-4)
    assert found[0]["sync_0"] == pytest.approx(found[0]["sync_c"])
    assert found[1]["sync_c"] == pytest.approx(found[0]["sync_c"], rel=0.1)
    assert found[1]["sync_0"] < 0.1 * found[0]["sync_0"]


def test_every_number_has_a_name_of_its_own() -> None:
    names = [about.name for metric in build(EvaluationConfig())[0] for about in metric.about]
    assert len(set(names)) == len(names)
