"""Qwen2.5-VL and Qwen3-VL, tiny, from disk in the published layout: keys keep their pictures whatever the batches."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from pipeline.backends.captioner import Asked, Decoding, describe
from pipeline.backends.qwen_vl import QwenCaptioner
from schemas.errors import UserError
from tests.pipeline import tiny_models

DECODING = Decoding(tokens=4, temperature=0.0)


def clips(count: int) -> list[Asked]:
    """Clips of different numbers and sizes of frames."""
    random = np.random.default_rng(0)
    return [
        Asked(
            key=f"{number:016x}_0_1",
            frames_thwc=[
                random.integers(0, 255, (56 + 28 * (number % 2), 84, 3), dtype=np.uint8) for _ in range(1 + number % 3)
            ],
            seconds=0.5,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("kind", ["2.5", "3"])
def test_batches_change_no_answer_and_swap_none(tmp_path: Path, kind: Literal["2.5", "3"]) -> None:
    folder = tiny_models.qwen(tmp_path, kind)
    model = QwenCaptioner(folder, version="tiny", device="cpu", decoding=DECODING, batch=3)
    asked = clips(4)
    alone = {one.key: model.reply([one])[0].text for one in asked}
    assert len(set(alone.values())) > 1, "the pictures make no difference"
    together = {reply.key: reply.text for reply in model.reply(asked)}
    backwards = {reply.key: reply.text for reply in model.reply(asked[::-1])}
    assert together == alone
    assert backwards == alone
    assert model.name.startswith("qwen2_5_vl:" if kind == "2.5" else "qwen3_vl:")
    found = describe(model, asked[:1], attempts=2)
    assert all(one.answer is None and one.attempts == 2 and one.error for one in found.values())


def test_a_folder_without_such_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot load the captioner"):
        QwenCaptioner(tmp_path, version="tiny", device="cpu", decoding=DECODING, batch=1)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="of the kind 'bert'"):
        QwenCaptioner(tmp_path, version="tiny", device="cpu", decoding=DECODING, batch=1)


def test_a_pickle_in_place_of_safetensors_is_not_read(tmp_path: Path) -> None:
    import torch

    folder = tiny_models.qwen(tmp_path, "2.5")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot load the captioner"):
        QwenCaptioner(folder, version="tiny", device="cpu", decoding=DECODING, batch=1)
