"""Identity descriptors: the classical one on two portraits in many looks, SFace's loading on a tiny model."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backends.classical_descriptor import DIMENSION, ClassicalDescriptor
from pipeline.backends.face_detector import Detection
from pipeline.backends.sface import SfaceDescriptor
from schemas.errors import UserError
from tests.pipeline.face_pictures import FACE_IN_COLLINS, HOPPER_FACE, Picture, collins, fractions, gray, hopper


def _another_look(picture: Picture, box_px: tuple[int, int, int, int], seed: int) -> tuple[Picture, Detection]:
    """The picture turned, scaled, relit, blurred and perhaps mirrored, with a box as a detector would shake it."""
    rng = np.random.default_rng(seed)
    angle, scale = np.radians(rng.uniform(-5, 5)), rng.uniform(0.6, 1.1)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([(box_px[0] + box_px[2]) / 2, (box_px[1] + box_px[3]) / 2])
    size = np.array([box_px[2] - box_px[0], box_px[3] - box_px[1]]) * scale
    target = 1.2 * size
    move = np.column_stack([linear, target - linear @ middle])
    across, down = (int(value) for value in 2.4 * size)
    seen = cv2.warpAffine(picture, move, (across, down), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    light = 1 + rng.uniform(-0.3, 0.3) * np.linspace(-1, 1, across)[None, :, None]
    lit = np.clip(255 * (np.clip(seen * light, 0, 255) / 255) ** rng.uniform(0.75, 1.35), 0, 255).astype(np.uint8)
    soft = np.asarray(cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.3, 1.0)), dtype=np.uint8)
    corner, shake = target - size / 2, rng.normal(0, 0.012, 2) * size
    box = (*(corner + shake), *(corner + shake + size))
    if seed % 2:
        soft = np.ascontiguousarray(soft[:, ::-1])
        box = (across - box[2], box[1], across - box[0], box[3])
    return soft, Detection(box=fractions(box, soft), score=1, certain=True)


@pytest.fixture(scope="module")
def described() -> NDArray[np.float32]:
    """20 looks of one person, then 20 of the other."""
    descriptor = ClassicalDescriptor()
    people = ((collins(), FACE_IN_COLLINS), (hopper(), HOPPER_FACE))
    looks = [_another_look(picture, box, seed) for picture, box in people for seed in range(20)]
    return np.array([descriptor.describe(picture, gray(picture), face) for picture, face in looks])


def test_two_people_in_twenty_looks_each_are_told_apart(described: NDArray[np.float32]) -> None:
    similarity = described @ described.T
    same = [similarity[a, b] for a, b in itertools.combinations(range(40), 2) if (a < 20) == (b < 20)]
    other = similarity[:20, 20:].ravel()
    assert np.quantile(same, 0.05) > other.max() + 0.03
    assert other.max() < 0.8


def test_descriptions_have_length_one_and_ignore_the_mirror(described: NDArray[np.float32]) -> None:
    assert described.shape == (40, DIMENSION)
    assert np.linalg.norm(described, axis=1) == pytest.approx(np.ones(40), abs=1e-5)
    picture = collins()
    x0, y0, x1, y1 = FACE_IN_COLLINS
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    width = picture.shape[1]
    boxes = ((x0, y0, x1, y1), (width - x1, y0, width - x0, y1))
    one, other = (
        ClassicalDescriptor().describe(p, gray(p), Detection(box=fractions(box, p), score=1, certain=True))
        for p, box in zip((picture, mirrored), boxes, strict=True)
    )
    assert float(one @ other) > 0.99


def test_a_flat_face_gives_no_error() -> None:
    flat = np.full((40, 40, 3), 90, dtype=np.uint8)
    vector = ClassicalDescriptor().describe(
        flat, gray(flat), Detection(box=(0.2, 0.2, 0.8, 0.8), score=1, certain=True)
    )
    assert np.isfinite(vector).all()


def _field(number: int, value: int | bytes) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    head = [] if value < 128 else [*_varint(value >> 7)]
    low = value & 127
    return bytes([low]) if not head else bytes([low | 128]) + bytes(head)


def _tiny_recogniser() -> bytes:
    """An ONNX model that FaceRecognizerSF takes: the mean of each colour channel of a picture of 112 x 112."""

    def node(kind: str, source: str, target: str) -> bytes:
        return _field(1, source.encode()) + _field(2, target.encode()) + _field(4, kind.encode())

    def value(name: str, *shape: int) -> bytes:
        dimensions = b"".join(_field(1, _field(1, size)) for size in shape)
        tensor = _field(1, 1) + _field(2, dimensions)
        return _field(1, name.encode()) + _field(2, _field(1, tensor))

    graph = (
        _field(1, node("GlobalAveragePool", "data", "pooled"))
        + _field(1, node("Flatten", "pooled", "fc1"))
        + _field(2, b"tiny")
        + _field(11, value("data", 1, 3, 112, 112))
        + _field(12, value("fc1", 1, 3))
    )
    return _field(1, 7) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 11))


def test_sface_loads_aligns_and_describes(tmp_path: Path) -> None:
    model = tmp_path / "tiny.onnx"
    model.write_bytes(_tiny_recogniser())
    sface = SfaceDescriptor(model)
    picture = np.zeros((200, 300, 3), dtype=np.uint8)
    picture[:, :150] = (250, 0, 0)  # a red face on the left, a blue one on the right
    picture[:, 150:] = (0, 0, 250)
    points = np.array([[-20, -20], [20, -20], [0, 0], [-15, 25], [15, 25]])
    vectors = []
    for middle_x in (75, 225):
        landmarks = (points + np.array([middle_x, 100])) / (300, 200)
        face = Detection(box=(0, 0, 1, 1), score=1, certain=True, landmarks_5xy=landmarks)
        vectors.append(sface.describe(picture, gray(picture), face))
    assert vectors[0] == pytest.approx([1, 0, 0], abs=0.05)
    assert vectors[1] == pytest.approx([0, 0, 1], abs=0.05)
    with pytest.raises(ValueError, match="landmarks"):
        sface.describe(picture, gray(picture), Detection(box=(0, 0, 1, 1), score=1, certain=True))


def test_a_file_that_is_no_model_is_the_users_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "model.onnx"
    wrong.write_bytes(b"not a model")
    for model in (wrong, tmp_path / "missing.onnx"):
        with pytest.raises(UserError, match="cannot load the SFace model"):
            SfaceDescriptor(model)
