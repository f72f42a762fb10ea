"""open_clip and LAION's head, tiny, from disk in the published layouts. Runs where open_clip can be imported:

PYTHONPATH=.:tests/pipeline/cpu_torchvision python -m pytest tests/pipeline/backends/test_open_clip_looks.py
"""

from pathlib import Path

import numpy as np
import pytest

from pipeline.backends.open_clip_looks import OpenClipLooks
from pipeline.stages.looks import OpenClipStage
from schemas.errors import UserError
from tests.pipeline import tiny_models
from tests.pipeline.stages.test_captions import CLIP, Inputs, frames_row

pytest.importorskip("open_clip", reason="open_clip is not installed: pip install -e '.[looks]'", exc_type=ImportError)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> OpenClipLooks:
    folder = tmp_path_factory.mktemp("looks")
    clip, head = tiny_models.open_clip(folder / "clip"), tiny_models.aesthetic_head(folder / "head")
    return OpenClipLooks(clip, head, version="tiny", device="cpu", batch=2)


def pictures(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (40 + 8 * number, 64, 3), dtype=np.uint8) for number in range(count)]


def test_batches_change_no_embedding(models: OpenClipLooks) -> None:
    shown = pictures(5)
    together = models.pictures(shown)
    alone = np.concatenate([models.pictures([one]) for one in shown])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3
    words = models.texts(["a man", "a very long text " * 60, "a dog"])
    assert words.shape == (3, together.shape[1])
    assert models.aesthetic(together).shape == (5,)


def test_the_stage_compares_caption_and_picture_and_does_without_a_caption(models: OpenClipLooks) -> None:
    stage = OpenClipStage(models)
    row, stack = frames_row(2)
    reference = pictures(1)[0]
    inputs = Inputs(
        {
            "frames": [row],
            "faces": [{"subjects": 1}],
            "tracks": [{"track": 0, "reference_sha256": "r"}],
            "captions": [{"text_short": "a person"}],
        },
        {"f": stack, "r": reference},
    )
    found = stage.measure(CLIP, inputs)
    (looks,), (track,) = found.rows["looks"], found.rows["look_tracks"]
    assert looks["caption_similarity"] == pytest.approx(
        np.dot(looks["embedding"], looks["caption_embedding"]), abs=1e-5
    )
    np.testing.assert_allclose(track["embedding"], models.pictures([reference])[0], atol=1e-5)
    inputs.failed["captions"] = "no caption"
    (without,) = stage.measure(CLIP, inputs).rows["looks"]
    assert without["caption_similarity"] is None
    assert without["aesthetic"] == pytest.approx(looks["aesthetic"])
    assert "no caption" in without["error"]


def test_a_head_of_another_kind_is_refused_and_no_code_in_it_runs(tmp_path: Path) -> None:
    import pickle

    clip, head = tiny_models.open_clip(tmp_path / "clip"), tmp_path / "head"
    head.mkdir()
    (head / "sac+logos+ava1-l14-linearMSE.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(UserError, match="not LAION's"):
        OpenClipLooks(clip, head, version="tiny", device="cpu", batch=1)
    assert not (tmp_path / "ran").exists()


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)
