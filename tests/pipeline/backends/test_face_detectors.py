"""Haar and YuNet on portraits whose faces are at known places, and on the real stills."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.backends.face_detector import Detection, FaceDetector, distinct, overlap
from pipeline.backends.haar import HaarDetector
from pipeline.backends.yunet import YunetDetector, yaw_deg
from schemas.errors import UserError
from tests.pipeline.face_pictures import (
    FACE_IN_COLLINS,
    HOPPER_FACE,
    Picture,
    background,
    collins,
    fractions,
    gray,
    hopper,
    pasted,
)


@pytest.fixture(scope="module")
def yunet_model() -> Path:
    folder = Path(os.environ.get("HUMO_WEIGHTS", Path(__file__).parents[4] / "shared" / "weights"))
    model = folder / "yunet_n_640_640.onnx"
    if not model.is_file():
        pytest.skip(f"no {model}: set HUMO_WEIGHTS to the folder of YuNet's model to run this test")
    return model


@pytest.fixture(scope="module")
def haar() -> HaarDetector:
    return HaarDetector(scan_pixels=90_000, smallest=0.08)


@pytest.fixture(scope="module")
def yunet(yunet_model: Path) -> YunetDetector:
    return YunetDetector(yunet_model, scan_pixels=90_000, smallest=0.08)


def _only(detector: FaceDetector, picture: Picture) -> Detection:
    found = [face for face in detector.find(picture, gray(picture)) if face.certain]
    assert len(found) == 1
    return found[0]


def _check_portraits(detector: FaceDetector, least_overlap: float) -> None:
    for picture, box in ((collins(), FACE_IN_COLLINS), (hopper(), HOPPER_FACE)):
        assert overlap(_only(detector, picture).box, fractions(box, picture)) > least_overlap
    assert detector.find(background(240, 320), gray(background(240, 320))) == []


def _check_near(detector: FaceDetector) -> None:
    # A face of 26 pixels in a picture of 640 x 480: too small for a scan at 90,000 pixels.
    picture = pasted(background(480, 640), 300, 200, 0.24, collins())
    x0, y0, x1, y1 = FACE_IN_COLLINS
    truth = fractions([300 + 0.24 * x0, 200 + 0.24 * y0, 300 + 0.24 * x1, 200 + 0.24 * y1], picture)
    moved = (truth[0] + 0.008, truth[1] - 0.008, truth[2] + 0.008, truth[3] - 0.008)
    elsewhere = (0.1, 0.1, 0.15, 0.17)
    found = detector.find_near(picture, gray(picture), [moved])
    assert overlap(found[0].box, truth) > 0.6
    assert detector.find_near(picture, gray(picture), [elsewhere]) == []
    assert len(detector.find_near(picture, gray(picture), [moved, truth])) == 1


def test_haar_finds_portraits(haar: HaarDetector) -> None:
    _check_portraits(haar, 0.6)


def test_haar_looks_closer_near_a_known_face(haar: HaarDetector) -> None:
    _check_near(haar)


@pytest.mark.parametrize("tall", [26, 32, 38, 44, 52, 64, 90, 130, 180])
def test_haar_finds_faces_of_all_sizes(haar: HaarDetector, tall: int) -> None:
    # In a picture that is searched in its own pixels; from 45 pixels on faces are sought in half of it.
    x0, y0, x1, y1 = FACE_IN_COLLINS
    scale = tall / (y1 - y0)
    for x, y in ((150, 20), (161, 27)):
        left, top = round(x - scale * x0), round(y - scale * y0)
        picture = pasted(background(225, 400), left, top, scale, collins())
        truth = fractions([left + scale * x0, top + scale * y0, left + scale * x1, top + scale * y1], picture)
        assert overlap(_only(haar, picture).box, truth) > 0.55


def test_haar_finds_no_face_under_the_smallest() -> None:
    # A face of 60 lines of 225.
    scale = 60 / (FACE_IN_COLLINS[3] - FACE_IN_COLLINS[1])
    picture = pasted(background(225, 400), 100, 20, scale, collins())
    for smallest, found in ((0.2, 1), (0.32, 0)):
        detector = HaarDetector(scan_pixels=90_000, smallest=smallest)
        assert len(detector.find(picture, gray(picture))) == found


@pytest.mark.parametrize("box", [(-0.5, -0.5, -0.3, -0.2), (0.98, 0.5, 1.4, 0.9), (0.5, 0.5, 0.5, 0.5)])
def test_haar_survives_boxes_outside_the_picture(haar: HaarDetector, box: tuple[float, float, float, float]) -> None:
    picture = background(120, 160)
    assert haar.find_near(picture, gray(picture), [box]) == []


def test_haar_on_tiny_pictures(haar: HaarDetector) -> None:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    assert haar.find(picture, gray(picture)) == []


def test_yunet_finds_portraits(yunet: YunetDetector) -> None:
    _check_portraits(yunet, 0.85)


def test_yunet_looks_closer_near_a_known_face(yunet: YunetDetector) -> None:
    _check_near(yunet)


def test_yunet_yaw_changes_sign_in_the_mirror(yunet: YunetDetector, footage: Path) -> None:
    # She looks to the picture's right in this still, and to its left in the mirror.
    still = cv2.imread(str(footage / "stills/facenet-pytorch/test_images_angelina_jolie_1.jpg"))
    picture = np.asarray(cv2.cvtColor(still, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    yaws = []
    for seen in (picture, np.ascontiguousarray(picture[:, ::-1])):
        face = _only(yunet, seen)
        assert face.landmarks_5xy is not None
        assert face.landmarks_5xy[0, 0] < face.landmarks_5xy[1, 0]
        yaws.append(yaw_deg(face.landmarks_5xy, aspect=seen.shape[1] / seen.shape[0]))
    assert yaws[0] == pytest.approx(-yaws[1], abs=5)
    assert abs(yaws[0]) > 5


@pytest.mark.parametrize("turn", [-40.0, -15.0, 0.0, 25.0])
@pytest.mark.parametrize("roll", [-20.0, 0.0, 10.0])
def test_yaw_of_a_head_turned_by_a_known_angle(turn: float, roll: float) -> None:
    # Eyes, nose tip, mouth corners of a head whose nose stands 0.6 eye distances before the eyes; x to the right,
    # y down, z towards the viewer. The frame is twice as wide as high.
    head = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.5, 0.6], [-0.4, 1.1, 0.1], [0.4, 1.1, 0.1]])
    angle, tilt = np.radians(turn), np.radians(roll)
    turned = head[:, 0] * np.cos(angle) + head[:, 2] * np.sin(angle)
    x = turned * np.cos(tilt) - head[:, 1] * np.sin(tilt)
    y = turned * np.sin(tilt) + head[:, 1] * np.cos(tilt)
    landmarks = np.column_stack([0.5 + 0.1 * x / 2, 0.4 + 0.1 * y])
    assert yaw_deg(landmarks, aspect=2.0) == pytest.approx(turn, abs=0.5)


def test_a_file_that_is_no_model_is_the_users_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "model.onnx"
    wrong.write_bytes(b"not a model")
    for model in (wrong, tmp_path / "missing.onnx"):
        with pytest.raises(UserError, match="cannot load the YuNet model"):
            YunetDetector(model, scan_pixels=90_000, smallest=0.08)


def test_distinct_keeps_the_surest_of_overlapping_faces() -> None:
    faces = [
        Detection(box=(0.1, 0.1, 0.3, 0.4), score=0.4, certain=False),
        Detection(box=(0.11, 0.1, 0.31, 0.4), score=0.9, certain=True),
        Detection(box=(0.6, 0.1, 0.8, 0.4), score=0.5, certain=True),
    ]
    assert [face.score for face in distinct(faces)] == [0.9, 0.5]


# The stills' people by eye; faces cut off by the picture's edge are left out.
PEOPLE = {
    "knn_test_kit_with_rose": 2,
    "knn_test_obama_and_biden": 2,
    "two_people": 2,
    "multiface": 6,
    "multiface_detected": 6,
    "facenet-pytorch-banner": 0,
}
CUT_OFF = ("obama_partial_face", "obama_partial_face2", "test_images_aligned_angelina_jolie_1")


def test_haar_on_the_stills(haar: HaarDetector, footage: Path) -> None:
    found = wanted = 0
    for path in sorted((footage / "stills").rglob("*.*")):
        if path.stem not in CUT_OFF:
            picture = np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), dtype=np.uint8)
            found += sum(face.certain for face in haar.find(picture, gray(picture)))
            wanted += PEOPLE.get(path.stem, 1)
    assert wanted == 50
    # All 50, and two false alarms: both pictures with six people show knees.
    assert 50 <= found <= 52
