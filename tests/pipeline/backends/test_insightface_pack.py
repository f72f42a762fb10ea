"""insightface on synthetic ONNX graphs in the published layout. Runs where insightface and onnx can be imported."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.backends.insightface_pack import ArcfaceDescriptor, InsightfaceDetector
from pipeline.config import CurateConfig
from pipeline.engine.clip_stages import frame_stages
from pipeline.stage import Clip, ClipFrame
from schemas.errors import UserError
from tests.pipeline import tiny_models

pytest.importorskip("insightface", reason="insightface is not installed: see 'humo doctor'")
pytest.importorskip("onnx", reason="onnx is not installed: see 'humo doctor'")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.insightface_pack(tmp_path_factory.mktemp("faces"))


def picture(value: int = 120) -> np.ndarray:
    return np.full((480, 640, 3), value, np.uint8)


def test_a_face_is_found_where_it_is_with_its_landmarks(root: Path) -> None:
    detector = InsightfaceDetector(root, version="tiny", device="cpu", smallest=0.05)
    (face,) = detector.find(picture(), picture()[..., 0])
    x0, y0, x1, y1 = tiny_models.FACE_PX
    np.testing.assert_allclose(face.box, (x0 / 640, y0 / 480, x1 / 640, y1 / 480), atol=1e-3)
    assert face.certain
    assert face.landmarks_5xy is not None
    np.testing.assert_allclose(face.landmarks_5xy[0], ((x0 + 0.3 * 192) / 640, (y0 + 0.4 * 256) / 480), atol=1e-3)
    assert face.landmarks_5xy[0, 0] < face.landmarks_5xy[1, 0]
    assert detector.find(picture(0), picture(0)[..., 0]) == []
    (near,) = detector.find_near(picture(), picture()[..., 0], [(0.4, 0.3, 0.6, 0.7)])
    assert 0.4 < (near.box[0] + near.box[2]) / 2 < 0.6


def test_descriptors_have_length_one_and_tell_pictures_apart(root: Path) -> None:
    detector = InsightfaceDetector(root, version="tiny", device="cpu", smallest=0.05)
    descriptor = ArcfaceDescriptor(root, version="tiny", device="cpu")
    (face,) = detector.find(picture(), picture()[..., 0])
    noise = np.random.default_rng(0).integers(0, 255, picture().shape, dtype=np.uint8)
    one = descriptor.describe(noise, noise[..., 0], face)
    other = descriptor.describe(picture(), picture()[..., 0], face)
    assert one.shape == (512,)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert float(one @ other) < 0.999


def test_the_faces_stage_gives_the_same_columns_as_with_haar(root: Path) -> None:
    clip = Clip(
        id="0000000000000000_0_200000",
        source_id="0000000000000000",
        shot_id="0000000000000000_0_200000",
        start_us=0,
        end_us=200_000,
        frames=9,
        width=640,
        height=480,
        media_sha256="0" * 64,
        audio_sha256=None,
    )
    config = CurateConfig.model_validate(
        {
            "faces": {"detector": "insightface", "descriptor": "arcface", "scan_every": 4},
            "weights": {"own": {"insightface-buffalo-l": str(root)}},
        }
    )
    (stage,) = frame_stages(config, ["faces"])
    meter = stage.start(clip)
    for index in range(clip.frames):
        meter.add(index, ClipFrame(picture()[..., 0], picture))
    found = meter.finish()
    assert found.rows["faces"][0]["subjects"] == 1
    (track,) = found.rows["tracks"]
    assert len(track["embedding"]) == 512
    assert stage.backend.startswith("scrfd:own")


def test_a_folder_without_a_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must hold one folder"):
        InsightfaceDetector(tmp_path, version="tiny", device="cpu", smallest=0.05)


def test_a_gpu_that_is_not_there_is_told_not_replaced(root: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(UserError):
        InsightfaceDetector(root, version="tiny", device="cuda", smallest=0.05)
