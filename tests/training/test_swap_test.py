import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from humo.mini.model import mini_model
from humo.transformer import HuMoOutput
from tests.training.sample_shards import Sample, encode_png, encode_video, write_shards
from training.config import TrainingConfig
from training.dataset import open_shard_set
from training.encoding import BatchEncoder
from training.held_out import HeldOut
from training.plan import Plan
from training.swap_test import Swap, SwapTest, bootstrap_interval, write_swaps

Config = Callable[..., TrainingConfig]
CPU = torch.device("cpu")


class Deaf(nn.Module):
    """Uses nothing it is given and remembers everything."""

    form = "overwrite"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    def forward(self, latents_bcthw: Tensor, timestep_b: Tensor, **given: Any) -> HuMoOutput:
        self.calls.append({"latents": latents_bcthw, "timestep": timestep_b, **given})
        return HuMoOutput(torch.zeros_like(latents_bcthw), None)


class Copier(nn.Module):
    """Believes that every frame looks like the reference."""

    form = "overwrite"

    def forward(self, latents_bcthw: Tensor, timestep_b: Tensor, *, reference_bcrhw: Tensor, **_: Any) -> HuMoOutput:
        return HuMoOutput((latents_bcthw - reference_bcrhw) / (timestep_b / 1000).view(-1, 1, 1, 1, 1), None)


def swap_test(manifest: Path, config: TrainingConfig, held: set[str]) -> SwapTest:
    opened = open_shard_set(str(manifest))
    rows = [row for row in opened.rows if row.split == "train"]
    plan = Plan(rows, data=config.data, stages=config.stages, seed=config.seed)
    held_out, donors = ([row for row in rows if (row.key in held) == wanted] for wanted in (True, False))
    return SwapTest(HeldOut(opened, plan, config), held_out=held_out, donors=donors)


def test_a_model_that_uses_nothing_has_learned_nothing(shards: Path, small_config: Config) -> None:
    test = swap_test(shards, small_config(), {"sync_0", "sync_1", "sync_2"})
    audio, reference = test.measure(Deaf(), BatchEncoder(mini_model(0), CPU))  # type: ignore[arg-type]
    for swap in (audio, reference):
        assert swap.pairs == 6
        assert swap.right > 1
        assert (swap.difference, swap.low, swap.high, swap.learned) == (0, 0, 0, False)
        assert "not shown" in swap.line()


def test_pairs_differ_in_the_swapped_condition_alone(shards: Path, small_config: Config) -> None:
    """sync_0 and sync_2 are of one person, sync_1 of the other, so each has its one kind of donor."""
    config = small_config("validation={windows: 1, timesteps: 1, donors: 1}", "data.batch=8")
    model = Deaf()
    test = swap_test(shards, config, {"sync_0", "sync_1", "sync_2"})
    test.measure(model, BatchEncoder(mini_model(0), CPU))  # type: ignore[arg-type]
    right, heard, shown = model.calls
    for swapped, changed in ((heard, "audio_windows_btwgc"), (shown, "reference_bcrhw")):
        assert torch.equal(swapped["latents"][:, :, :2], right["latents"][:, :, :2])
        for name in ("timestep", "text_bld", "audio_windows_btwgc", "reference_bcrhw"):
            same = [torch.equal(*pair) for pair in zip(swapped[name], right[name], strict=True)]
            assert same == [name != changed] * 3
    # The other window of the same person lends its audio; the only other person's window takes any.
    assert torch.equal(heard["audio_windows_btwgc"][0], right["audio_windows_btwgc"][2])
    assert torch.equal(heard["audio_windows_btwgc"][2], right["audio_windows_btwgc"][0])


def test_a_model_that_copies_the_reference_is_caught_using_it(tmp_path: Path, small_config: Config) -> None:
    def still(colour: tuple[int, int, int]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
        picture = np.full((64, 64, 3), colour, np.uint8)
        return lambda files: {**files, "mp4": encode_video([picture] * 9), "ref0.png": encode_png(picture)}

    samples = [Sample(key=f"a{n}", person="ann", frames=9, size=(64, 64), edit=still((200, 60, 60))) for n in range(2)]
    samples += [Sample(key=f"b{n}", person="bob", frames=9, size=(64, 64), edit=still((60, 60, 200))) for n in range(2)]
    test = swap_test(write_shards(tmp_path, samples), small_config(), {"a0", "b0"})
    audio, reference = test.measure(Copier(), BatchEncoder(mini_model(0), CPU))  # type: ignore[arg-type]
    assert reference.right < 0.01
    assert reference.low > 0.1
    assert reference.learned
    assert audio.difference == 0
    assert not audio.learned


def test_losses_are_measured_where_they_are_said_to_be(shards: Path, small_config: Config) -> None:
    """A model that is wrong only outside the face boxes has no loss inside them."""

    class WrongOutside(nn.Module):
        form = "overwrite"

        def __init__(self, test: SwapTest, encoder: BatchEncoder) -> None:
            super().__init__()
            [trials] = test._trials.values()
            self.own = test._steady.encode(encoder, [trial.own for trial in trials])

        def forward(self, latents_bcthw: Tensor, timestep_b: Tensor, **_: Any) -> HuMoOutput:
            velocity = torch.zeros_like(latents_bcthw)
            frames = self.own.clean_bcthw.shape[2]
            outside = 1 - self.own.face_mask_bthw.repeat_interleave(2, 2).repeat_interleave(2, 3)
            velocity[:, :, :frames] = self.own.noise_bcthw[:, :, :frames] - self.own.clean_bcthw + outside[:, None]
            return HuMoOutput(velocity, None)

    test = swap_test(shards, small_config("data.batch=16", "data.sizes=[[64, 96]]"), {"sync_0", "sync_1"})
    encoder = BatchEncoder(mini_model(0), CPU)
    model = WrongOutside(test, encoder)
    audio, reference = test.measure(model, encoder)  # type: ignore[arg-type]
    assert audio.right == pytest.approx(0, abs=1e-10)
    outside = 1 - model.own.face_mask_bthw.mean()
    assert reference.right == pytest.approx(float(outside), rel=1e-4)
    assert reference.right > 0.3


def test_without_a_pair_nothing_is_claimed(shards: Path, small_config: Config) -> None:
    test = swap_test(shards, small_config(), {"sync_0"})
    audio, reference = test.measure(Deaf(), BatchEncoder(mini_model(0), CPU))  # type: ignore[arg-type]
    assert (audio.pairs, audio.learned) == (0, False)
    assert "not measured" in audio.line()
    assert reference.pairs == 2


def test_subject_samples_serve_where_no_sync_sample_is_held_out(shards: Path, small_config: Config) -> None:
    test = swap_test(shards, small_config(), {"subject_0", "subject_1"})
    audio, reference = test.measure(Deaf(), BatchEncoder(mini_model(0), CPU))  # type: ignore[arg-type]
    assert (audio.pairs, reference.pairs) == (0, 4)


def test_the_interval_is_that_of_the_mean() -> None:
    differences = np.random.default_rng(1).normal(0.5, 1.0, 400)
    low, high = bootstrap_interval(differences, resamples=4000, seed=0)
    half = 1.96 * differences.std() / 20
    assert low == pytest.approx(differences.mean() - half, abs=0.01)
    assert high == pytest.approx(differences.mean() + half, abs=0.01)
    assert bootstrap_interval(np.full(5, 2.0), resamples=100, seed=0) == (2.0, 2.0)


def test_results_are_stored_and_told(tmp_path: Path) -> None:
    swap = Swap("audio", "in face boxes", 20, 0.5, 0.51, 0.01, 0.005, 0.016, learned=True)
    write_swaps([swap, replace(swap, condition="reference")], tmp_path / "swap_test.json")
    stored = json.loads((tmp_path / "swap_test.json").read_text())
    assert stored["audio"]["low"] == 0.005
    assert set(stored) == {"audio", "reference"}
    assert swap.line() == (
        "swapped audio: loss in face boxes 0.5000 -> 0.5100, +2.00 % [+1.00, +3.20] over 20 pairs: learned"
    )
