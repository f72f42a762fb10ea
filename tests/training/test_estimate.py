"""The arithmetic that MFU and the shipped configurations rest on."""

import json
import re
from pathlib import Path

import pytest
import torch

from humo.checkpoints import empty_transformer
from humo.presets import HUMO_1_7B, HUMO_17B, PRESETS
from humo.transformer import HuMoTransformer
from schemas.command_line import run
from schemas.errors import UserError
from training.config import SHIPPED, Group, Parallel, load_config
from training.estimate import FFN_BYTES, SPARED, WIDTH_BYTES, Estimate, estimate
from training.flops import forward_flops, step_flops, tokens_of
from training.parallel import joined, spread
from training.plan import Bucket

FULL = Bucket(480, 832, 97, 1)
ALL: list[Group] = ["self_attention", "audio", "mask_predictor", "reference_input", "other"]
STAGE_2: list[Group] = ["self_attention", "audio", "mask_predictor"]


@pytest.mark.parametrize(
    ("sizes", "whole", "stage_2", "attention"), [(HUMO_1_7B, 1.26, 1.18, 0.72), (HUMO_17B, 7.52, 6.89, 0.54)]
)
def test_petaflops_of_a_sample_are_the_known_ones(
    sizes: dict[str, object], whole: float, stage_2: float, attention: float
) -> None:
    model = empty_transformer(sizes, where="preset")
    assert tokens_of(FULL) == 39000 + 1560
    found = step_flops(model, FULL, trains=ALL, with_audio=True)
    assert found / 1e15 == pytest.approx(whole, abs=0.005)
    assert step_flops(model, FULL, trains=STAGE_2, with_audio=True) / 1e15 == pytest.approx(stage_2, abs=0.005)
    softmax = len(model.blocks) * 12 * tokens_of(FULL) ** 2 * model.config["width"]
    assert softmax / found == pytest.approx(attention, abs=0.005)


@pytest.mark.parametrize("again", [(), *((name,) for name in SPARED), tuple(SPARED)])
def test_the_activations_of_a_block_are_those_that_autograd_keeps(again: tuple[str, ...]) -> None:
    """Counted with saved-tensor hooks; the bfloat16 copies of weights are not among a full size's worries."""

    def kept(layers: int) -> float:
        torch.manual_seed(0)
        sizes = {"width": 64, "ffn": 256, "heads": 2, "text_dim": 8, "text_length": 4, "audio_tokens": 2}
        audio = {"audio_dim": 2, "audio_width": 8, "audio_hidden": 4}
        model = HuMoTransformer(form="overwrite", layers=layers, **sizes, **audio)
        with joined(Parallel(), device="cpu") as world:
            spread(model, Parallel(recompute=again), world)
        for name, one in model.named_parameters():
            one.requires_grad_("self_attn" in name or "audio" in name)
        parameters = {one.data_ptr() for one in model.parameters()}
        held: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.untyped_storage().data_ptr() not in parameters:
                held[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            model(
                torch.randn(1, 16, 5, 32, 32),
                torch.tensor([500.0]),
                text_bld=torch.randn(1, 4, 8),
                audio_windows_btwgc=torch.randn(1, 4, 8, 5, 2),
                reference_bcrhw=torch.randn(1, 16, 1, 32, 32),
            )
        return sum(tensor.untyped_storage().nbytes() for tensor in held.values()) / (5 * 16 * 16)

    width, hidden = (sum(SPARED[name][number] for name in again) for number in (0, 1))
    expected = 64 * (WIDTH_BYTES - width) + 256 * (FFN_BYTES - hidden)
    assert kept(2) - kept(1) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("config", "variant", "processes"), [("1_7b", "1.7b", 8), ("17b", "17b", 64)])
def test_shipped_configurations_fit_their_devices_and_say_so(config: str, variant: str, processes: int) -> None:
    found = estimate(load_config(config, []), PRESETS[variant], processes)  # type: ignore[index]
    table = (SHIPPED / f"{config}.yaml").read_text()
    for stage in found:
        parts = (stage.weights_gb, stage.training_gb, stage.activations_gb)
        assert sum(parts) < 80
        numbers = [sum(parts), *parts, stage.step_seconds, stage.days]
        line = r"\s+\D?\s*".join(re.escape(f"{number:.1f}") for number in numbers)
        assert re.search(rf"#\s+{stage.stage}\s+{line}\n", table), numbers


def test_shipped_configurations_deal_evenly() -> None:
    for path, processes in ((SHIPPED / "1_7b.yaml", 8), (SHIPPED / "17b.yaml", 64)):
        config = load_config(str(path), [])
        share = config.data.batch * config.parallel.sequence / processes
        assert share % config.parallel.micro_batch == 0
        assert processes % (config.parallel.shard or processes) == 0


def test_the_papers_stages_are_the_shipped_ones() -> None:
    for name in ("1_7b", "17b"):
        stages = load_config(name, []).stages
        assert [stage.steps for stage in stages.values()] == [40000, 40000]
        assert set(stages["subject"].trains) <= {"self_attention", "new_inputs"}
        assert not stages["subject"].uses_sync
        assert set(stages["sync"].trains) == {"self_attention", "audio", "mask_predictor"}
        assert (stages["sync"].sync_share.start, stages["sync"].sync_share.end) == (0.2, 0.5)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["estimate", "--config", "mini", "--model", "mini", "--processes", "1", "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)
    assert [stage["stage"] for stage in stages] == ["start", "subject", "sync"]
    assert run(["estimate", "--config", "mini", "--model", "2b", "--processes", "1"]) == 2
    assert "give one of 1.7b, 17b, mini" in capsys.readouterr().err


def test_recomputation_keeps_the_stream_alone() -> None:
    config = load_config("1_7b", ["parallel.micro_batch=1"])
    [first, _] = estimate(config, HUMO_1_7B, 8)
    without = load_config("1_7b", ["parallel.micro_batch=1", "parallel.recompute=[]"])
    [second, _] = estimate(without, HUMO_1_7B, 8)
    assert second.activations_gb > 10 * first.activations_gb
    assert first.step_seconds == pytest.approx(second.step_seconds * 4 / 3)


def test_what_is_computed_again_in_part_counts_in_part() -> None:
    def found(again: str) -> Estimate:
        return estimate(load_config("1_7b", [f"parallel.recompute={again}"]), HUMO_1_7B, 8)[1]

    nothing, some, all_parts, block = map(found, ("[]", "[cross_attn, ffn]", f"[{', '.join(SPARED)}]", "[block]"))
    assert nothing.activations_gb > some.activations_gb > all_parts.activations_gb > block.activations_gb
    assert nothing.step_seconds < some.step_seconds < all_parts.step_seconds
    # Both a forward pass, one counted in parts, the other as a third of a pass with gradients everywhere.
    assert all_parts.step_seconds == pytest.approx(block.step_seconds, rel=0.05)
    with pytest.raises(UserError, match="nothing is known of the memory that parallel.recompute spares by 'norm1'"):
        found("[norm1]")


def test_a_forward_pass_is_that_of_its_parts() -> None:
    """Products of matrices count twice a multiplication: the released 1.7B with one reference, by hand."""
    model = empty_transformer(HUMO_1_7B, where="preset")
    attention = forward_flops(model, FULL, "self_attn", with_audio=True)
    assert attention == 30 * (8 * 40560 * 1536**2 + 4 * 40560**2 * 1536)
    assert forward_flops(model, FULL, "audio_cross_attn_wrapper", with_audio=False) == 0


def test_hosts_hold_what_devices_do_not() -> None:
    [stage, _] = estimate(load_config("17b", []), HUMO_17B, 64)
    weights = sum(one.numel() for one in empty_transformer(HUMO_17B, where="preset").parameters()) / 1e9
    assert stage.first_host_gb == pytest.approx(4 * weights + 12.7)
    # As many shards as `parallel.shard` says, of the weights, the averages and two moments: 4 bytes each.
    trained = stage.training_gb * 32 / 16
    assert stage.host_gb == pytest.approx((4 * weights + 12 * trained) / 32)
    assert stage.validation_gb == pytest.approx(4 * trained / 32 + 0.25)
    [stage, *_] = estimate(load_config("mini", ["data.workers=2", "data.cache_mb=1500"]), PRESETS["mini"], 1)
    assert 3 < stage.host_gb < 3.1
    assert stage.first_host_gb < 0.1
