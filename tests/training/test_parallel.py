"""However the work is spread, the loss and the gradients are the same."""

import json
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial, partialmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from humo.mini.model import mini_model
from schemas.errors import UserError
from tests.ranks import run_ranks
from tests.training.conftest import SMALL
from training import parallel
from training.batch import Damage
from training.config import Parallel, load_config
from training.dataset import open_shard_set
from training.encoding import BatchEncoder
from training.ledger import Ledger
from training.loader import Batches
from training.parallel import joined, share_of_batch, shared_tokens, spread, whole
from training.plan import Plan
from training.stages import select
from training.step import backward

ONE_STAGE = [
    *SMALL,
    "stages.sync={steps: 4, trains: [self_attention, reference_input, other, audio, mask_predictor],"
    " learning_rate: 0.01, sync_share: {start: 0.5, end: 0.5}}",
    "optimizer.clip_norm=1000000",
]
STEP = 7
SPREADS: dict[str, tuple[int, list[str]]] = {
    "sharded": (2, []),
    "copies": (4, ["parallel.shard=2"]),
    "sequence": (2, ["parallel.sequence=2"]),
    "sequence of copies": (4, ["parallel.sequence=2", "parallel.shard=2", "parallel.micro_batch=1"]),
    "accumulated": (1, ["parallel.micro_batch=1"]),
    "recomputed": (1, ["parallel.recompute=[block]"]),
    "compiled": (2, ["parallel.compile=true", "parallel.recompute=[block]", "parallel.micro_batch=1"]),
    "recomputed but attention": (
        2,
        ["parallel.recompute=[cross_attn, audio_cross_attn_wrapper, ffn]", "parallel.micro_batch=2"],
    ),
}


def gradients(data: Path, out: Path, settings: list[str], form: str, torn_on: int | None = None) -> None:
    """Of one step, with nothing zero in the model; the first process writes them.

    On the process `torn_on` the step's second sample is damaged.
    """
    # Everything that compiling does to a block but the making of machine code, which takes minutes.
    torch.nn.Module.compile = partialmethod(torch.nn.Module.compile, backend="aot_eager")  # type: ignore[assignment, method-assign]
    config = load_config("mini", [*ONE_STAGE, *settings])
    opened = open_shard_set(str(data))
    rows = [row for row in opened.rows if row.split == "train"]
    plan = Plan(rows, data=config.data, stages=config.stages, seed=0)
    with joined(config.parallel, device="cpu") as world:
        model = mini_model(0, form)  # type: ignore[arg-type]
        draw = torch.Generator().manual_seed(1)
        for parameter in model.transformer.parameters():
            parameter.data += 0.02 * torch.randn(parameter.shape, generator=draw)
        spread(model.transformer, config.parallel, world)
        parameters = select(model.transformer, "sync", config.stages["sync"])
        batches = Batches(opened, plan, config, share=(world.data_rank, world.data_ranks))
        batch = batches[STEP]
        if world.rank == torn_on:
            places = torch.arange(len(batch.keys)) == 1
            batch = replace(batch, weight_b=(~places).float(), damaged=(Damage(batch.keys[1], "torn"),))
        ledger = Ledger(config, out.parent, world)
        ledger.damage(batch, SimpleNamespace(say=print))  # type: ignore[arg-type]
        assert list(ledger.damaged) == ([] if torn_on is None else [plan.slots(STEP)[1].row.key])
        with shared_tokens(model.transformer, world):
            found = backward(
                model.transformer,
                BatchEncoder(model, world.device),
                batch,
                parameters,
                config=config,
                world=world,
                stage=config.stages["sync"],
            )
        tensors = {name: whole(one.grad) for name, one in parameters.items() if one.grad is not None}
        assert len(tensors) == len(parameters)
        if world.first:
            torch.save({"loss": found.loss, "mask": found.mask_loss, "norm": found.norm, "tensors": tensors}, out)
            out.with_suffix(".json").write_text(json.dumps(dict(found.sums)))


@pytest.fixture(scope="module")
def alone(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Loss, gradients and sums by form."""
    found = {}
    for form in ("overwrite", "channels"):
        out = tmp_path_factory.mktemp("alone") / "gradients.pt"
        run_ranks(1, gradients, shards, out, [], form)
        found[form] = torch.load(out), json.loads(out.with_suffix(".json").read_text())
    return found


@pytest.mark.parametrize(
    ("form", "name"), [*(("overwrite", name) for name in SPREADS), ("channels", "sharded"), ("channels", "sequence")]
)
def test_loss_and_gradients_are_those_of_one_process(
    form: str, name: str, shards: Path, tmp_path: Path, alone: Any
) -> None:
    expected, sums = alone[form]
    count, settings = SPREADS[name]
    run_ranks(count, gradients, shards, tmp_path / "gradients.pt", settings, form)
    found = torch.load(tmp_path / "gradients.pt")
    for value in ("loss", "mask", "norm"):
        assert found[value] == pytest.approx(expected[value], rel=1e-5)
    assert expected["mask"] > 0
    largest = max(float(one.abs().max()) for one in expected["tensors"].values())
    for parameter, one in expected["tensors"].items():
        apart = float((found["tensors"][parameter] - one).abs().max())
        assert apart < 1e-5 * max(largest, 1), (parameter, apart)
        assert apart < 1e-4 * float(one.abs().max()) + 1e-7, (parameter, apart)
    assert json.loads((tmp_path / "gradients.json").read_text()) == pytest.approx(sums, rel=1e-5)


def test_gradients_are_clipped_by_the_norm_of_all_processes(shards: Path, tmp_path: Path, alone: Any) -> None:
    run_ranks(
        2, gradients, shards, tmp_path / "gradients.pt", ["parallel.shard=1", "optimizer.clip_norm=0.01"], "overwrite"
    )
    expected, _ = alone["overwrite"]
    found = torch.load(tmp_path / "gradients.pt")
    assert found["norm"] == pytest.approx(expected["norm"], rel=1e-5)
    assert found["norm"] > 0.1
    norm = torch.nn.utils.get_total_norm(found["tensors"].values())
    assert float(norm) == pytest.approx(0.01, rel=1e-5)


def test_what_one_process_of_a_sequence_cannot_use_counts_for_none(shards: Path, tmp_path: Path) -> None:
    """Each reads the shared samples for itself, so that damage may be met by one alone."""
    results = []
    for count, torn_on, settings in ((1, 0, []), (2, 1, ["parallel.sequence=2"])):
        out = tmp_path / str(count) / "gradients.pt"
        out.parent.mkdir()
        run_ranks(count, gradients, shards, out, settings, "overwrite", torn_on)
        results.append(torch.load(out))
        assert json.loads(out.with_suffix(".json").read_text())["valid"] == 3
        assert (out.parent / "damaged.jsonl").read_text().count("torn") == 1
    for value in ("loss", "mask", "norm"):
        assert results[1][value] == pytest.approx(results[0][value], rel=1e-5)


def block_by_block(out: Path) -> None:
    """Write of each block that is sharded in which precision it and the one behind it are then."""
    model = mini_model(0).transformer.to(torch.bfloat16)
    seen = []

    def watched(module: Any, **given: Any) -> Any:
        blocks = list(model.blocks)
        if module in blocks:
            behind = blocks[blocks.index(module) + 1 :][:1]
            seen.append([str(next(one.parameters()).dtype) for one in (module, *behind)])
        return original(module, **given)

    original, parallel.fully_shard = parallel.fully_shard, watched  # type: ignore[attr-defined]
    with joined(Parallel(), device="cpu") as world:
        spread(model, Parallel(), world)
        assert {one.dtype for one in model.parameters()} == {torch.float32}
        if world.first:
            out.write_text(json.dumps(seen))


def test_weights_become_float32_block_by_block(tmp_path: Path) -> None:
    """Else the whole model would be in memory in float32, once for each process of a machine."""
    run_ranks(2, block_by_block, tmp_path / "seen")
    *others, last = json.loads((tmp_path / "seen").read_text())
    assert last == ["torch.float32"]
    assert others
    assert all(one == ["torch.float32", "torch.bfloat16"] for one in others)


def wait_long(out: Path) -> None:
    """Longer than a collective does."""
    new_group = parallel.dist.new_group
    parallel.dist.new_group = partial(new_group, timeout=timedelta(seconds=1))  # type: ignore[assignment]
    with joined(Parallel(), device="cpu") as world:
        world.by_first(lambda: time.sleep(2.5))
        time.sleep(2.5 * world.rank)
        world.meet()
    out.with_suffix(f".{world.rank}").write_text("")


def test_what_takes_long_is_waited_for(tmp_path: Path) -> None:
    run_ranks(2, wait_long, tmp_path / "done")
    assert len(list(tmp_path.iterdir())) == 2


def complain(world_settings: list[str], out: Path) -> None:
    config = load_config("mini", [*SMALL, *world_settings])
    # Begun and ended here: the first to complain would take away the store by which the others still seek each other.
    parallel.dist.init_process_group("gloo")
    try:
        with joined(config.parallel, device="cpu") as world:
            share_of_batch(config.data.batch, world, config.parallel.micro_batch)
            spread(mini_model(0).transformer, config.parallel, world)
    except UserError as error:
        out.write_text(str(error))
    parallel.dist.barrier()
    parallel.dist.destroy_process_group()


@pytest.mark.parametrize(
    ("count", "settings", "complaint"),
    [
        (1, ["parallel.micro_batch=3"], "data.batch is 4, which does not divide into micro-batches of 3 on 1 shares"),
        (2, ["data.batch=5"], r"data.batch is 5, which does not divide into 2 shares of the data \(2 processes"),
        (2, ["parallel.shard=3"], "parallel.shard is 3, which does not divide the 2 processes"),
        (3, ["parallel.sequence=3"], "parallel.sequence is 3, which does not divide the model's 2 heads"),
        (1, ["parallel.recompute=[attention]"], "a block has norm1, self_attn, .* and block is all"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(count: int, settings: list[str], complaint: str, tmp_path: Path) -> None:
    settings = [*settings, "data.batch=3"] if count == 3 else settings
    run_ranks(count, complain, settings, tmp_path / "complaint")
    with pytest.raises(UserError, match=complaint):
        raise UserError((tmp_path / "complaint").read_text())


def test_the_share_of_a_process_alone_is_everything() -> None:
    with joined(Parallel(), device="cpu") as world:
        assert (world.data_rank, world.data_ranks, world.first, world.mesh) == (0, 1, True, None)
        assert share_of_batch(7, world, 0) == 7
        assert world.totals({"a": 1.5}) == {"a": 1.5}
        assert world.gathered(["x", "y", "x"]) == ["x", "y"]
