"""The training loop: stage after stage, step after step, each a function of the plan and of the weights before it."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from schemas.errors import UserError
from training.batch import Batch
from training.board import Board
from training.checkpoint import (
    Checkpoints,
    RunIdentity,
    identity_facts,
    newest_state,
    optimizer_tensors,
    refuse_difference,
    restore_optimizer,
)
from training.config import TrainingConfig
from training.dataset import ShardSet, hold_out
from training.ema import Ema
from training.encoding import BatchEncoder
from training.features import read_nulls
from training.flops import step_flops, tokens_of
from training.held_out import HeldOut
from training.ledger import Ledger
from training.loader import Batches, batches_from
from training.parallel import World, joined, share_of_batch, shared_tokens
from training.plan import Plan
from training.progress import ProgressLog
from training.recipe import check_recipe
from training.run_folder import check_run, open_run_data, write_run
from training.stages import describe, learning_rate, make_optimizer, select
from training.start import export_model, start_model
from training.step import backward, record
from training.swap_test import Swap, SwapTest, write_swaps
from training.trouble import Usual, learned, trouble_with
from training.validation import Validation

MODEL, SWAPS = "model", "swap_test.json"
"""Names in the run's folder."""


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run leaves."""

    steps: int
    """Of all stages."""
    seconds: float
    """Of this call."""
    damaged: int
    """Samples met in this call that could not be used; `damaged.jsonl` says which and why."""
    skipped: int
    """Steps of this call that left the weights as they were; `skipped.jsonl` says which and why."""
    swaps: tuple[Swap, Swap]
    """Audio, reference."""
    model: Path
    """The model directory, for `humo generate --model`."""
    tells: bool
    """Whether this process is the one to tell about it."""


def train(
    config: TrainingConfig, *, data: str, out: Path, resume: bool, accept_changes: bool = False
) -> TrainingResult:
    """Train through all stages on the shards of a manifest, export the model and run the swap test.

    Every process that `torchrun` or Ray started calls it; one on its own trains alone.

    Args:
        config: what to do.
        data: the manifest, or the folder that holds it, anywhere fsspec can read.
        out: a folder, that all processes see, for checkpoints, logs, `model/` and `swap_test.json`.
        resume: go on from the newest checkpoint in `out`, bit for bit as if nothing had happened.
        accept_changes: go on although data or configuration mean something else now.

    Raises:
        UserError: no such data, nothing to train on, `out` is of another run or is there already.
        Diverged: the loss is no number; the line names the step and its samples.
    """
    began = time.monotonic()
    if config.threads:
        torch.set_num_threads(config.threads)
    with ExitStack() as stack:
        world = stack.enter_context(joined(config.parallel, device=config.device))
        manner: dict[str, Any] = {"data": data, "out": out, "resume": resume, "accept_changes": accept_changes}
        world.by_first(lambda: check_run(config, **manner))
        shards = open_run_data(**manner)
        trainer = Trainer(config, shards=shards, out=out, world=world)
        stack.enter_context(trainer.shared_tokens())
        if resume:
            trainer.restore(accept_changes=accept_changes)
        # Only now: what cannot be gone on with must leave the run as it was.
        if accept_changes or not resume:
            world.by_first(lambda: write_run(config, shards, out=out))
        swaps = trainer.run()
        return TrainingResult(
            steps=config.total_steps,
            seconds=time.monotonic() - began,
            damaged=len(trainer.ledger.damaged),
            skipped=trainer.ledger.skipped,
            swaps=swaps,
            model=trainer.model_dir,
            tells=world.first,
        )


class Trainer:
    """One run, as one of its processes sees it."""

    def __init__(self, config: TrainingConfig, *, shards: ShardSet, out: Path, world: World) -> None:
        self._config, self._out, self._world = config, out, world
        self.model_dir = out / MODEL
        self.ledger = Ledger(config, out, world)
        self._identity = RunIdentity(config.meaning(), shards.manifest.fingerprint)
        rows = [row for row in shards.rows if row.split == "train"]
        if not rows:
            raise UserError(f"{shards.folder} has no samples in its training split: nothing to train on")
        trained, held_out = hold_out(rows, config.data.hold_out)
        share_of_batch(config.data.batch, world, config.parallel.micro_batch)
        self._plan = Plan(trained, data=config.data, stages=config.stages, seed=config.seed)
        self._batches = Batches(shards, self._plan, config, share=(world.data_rank, world.data_ranks))
        steady = HeldOut(shards, self._plan, config)
        self._swap_test = SwapTest(steady, held_out=held_out, donors=trained)
        validated = [row for row in shards.rows if row.split == "val"] or held_out
        self._whole = start_model(config, world, encoded=bool(shards.manifest.features))
        self._model = self._whole.transformer.train()
        check_recipe(shards, config, self._whole)
        nulls = read_nulls(shards) if shards.manifest.features else None
        self._encoder = BatchEncoder(self._whole, world.device, nulls)
        self._validation = Validation(steady, validated, whole=self._whole, encoder=self._encoder, world=world)
        self._checkpoints = Checkpoints(
            out / "checkpoints", keep=config.checkpoints.keep, group=world.files, first=world.first
        )
        self._step = 0
        self._begin_stage(0)
        self._facts = (
            f"{len(trained)} samples to train on ({self._plan.too_short} too short), {len(held_out)} held out; "
            f"{len(self._plan.buckets)} shapes: {'; '.join(map(str, self._plan.buckets))}"
        )

    def shared_tokens(self) -> AbstractContextManager[None]:
        """Inside, processes with the same samples share their tokens. The run is to be within it."""
        return shared_tokens(self._model, self._world)

    def restore(self, *, accept_changes: bool) -> None:
        """Take up the newest checkpoint, if there is one. Raises UserError if another run wrote it."""
        folder = self._out / "checkpoints"
        state = newest_state(folder)
        if state is None:
            return
        if not accept_changes:
            stored = RunIdentity(state["identity"]["meaning"], state["identity"]["manifest"])
            refuse_difference(stored, self._identity, where=folder)
        self._step, total = state["step"], self._plan.total_steps
        if self._step > total:
            raise UserError(f"{self._step} steps are done, and the configuration ends after {total}: give it as many")
        if self._step < total:
            self._begin_stage(self._plan.position(self._step).stage)
        if state["stage"] not in (None, self._stage_name):
            raise UserError(
                f"step {self._step} lay in the stage {state['stage']} and would lie in {self._stage_name}: "
                "keep the steps of the stages that are done"
            )
        in_stage = state["stage"] is not None
        tensors = self._tensors(in_stage=in_stage)
        self._checkpoints.load(state["step"], tensors)
        if in_stage:
            self._usual = Usual(**state["usual"])
            restore_optimizer(self._optimizer, self._parameters, tensors)
        else:
            # A stage begins from the weights as they are now.
            self._begin_stage(self._stage_number)

    def run(self) -> tuple[Swap, Swap]:
        """All steps that are left, then the swap test and the export."""
        total, tells = self._plan.total_steps, self._world.first
        batches = batches_from(self._batches, self._step, workers=self._config.data.workers)
        with ExitStack() as stack:
            log = stack.enter_context(ProgressLog(self._out / "log.jsonl", total=total, done=self._step, tells=tells))
            board = Board(
                self._out / "board",
                self._config.logging,
                device=self._world.device,
                devices=self._world.size,
                tells=tells,
            )
            stack.callback(board.close)
            log.say(self._facts)
            described = ""
            while self._step < total:
                if described != self._stage_name:
                    log.say(describe(self._model, self._stage_name, self._stage))
                    described = self._stage_name
                self._train_step(batches, log, board)
                self._checkpoints.settle(wait=False)
            self._checkpoints.settle(wait=True)
            self._model.eval()
            swaps = self._swap_test.measure(self._model, self._encoder)
            for swap in swaps:
                log.say(swap.line())
            export_model(self.model_dir, self._whole, self._world)
            self._world.by_first(lambda: write_swaps(swaps, self._out / SWAPS))
        return swaps

    def _begin_stage(self, number: int) -> None:
        self._stage_number = number
        self._stage_name, self._stage = list(self._config.stages.items())[number]
        self._parameters = select(self._model, self._stage_name, self._stage)
        self._optimizer = make_optimizer(self._parameters, self._config.optimizer, self._stage)
        self._ema = Ema(self._parameters, decay=self._config.optimizer.ema_decay)
        self._usual = Usual()

    def _train_step(self, batches: Iterator[Batch], log: ProgressLog, board: Board) -> None:
        began = time.monotonic()
        batch = next(batches)
        waited = time.monotonic() - began
        self.ledger.damage(batch, log)
        position = self._plan.position(self._step)
        rate = learning_rate(self._stage, position.step_in_stage)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        found = backward(
            self._model,
            self._encoder,
            batch,
            self._parameters,
            config=self._config,
            world=self._world,
            stage=self._stage,
        )
        skipped = trouble_with(found.loss, found.norm, self._usual, self._config.trouble)
        self._usual = learned(self._usual, None if skipped else found.norm)
        if skipped:
            where = f"step {self._step} of stage {self._stage_name}"
            self.ledger.skip(batch, where=where, reason=skipped, in_a_row=self._usual.skipped, log=log)
        else:
            self._optimizer.step()
            self._ema.update(position.step_in_stage)
        line = record(
            found, step=self._step, stage=self._stage_name, rate=rate, skipped=skipped, began=began, waited=waited
        )
        log.add(line)
        board.step(line, **self._work())
        self._step += 1
        self._end_step(position.step_in_stage + 1, log, board)

    def _work(self) -> dict[str, Any]:
        """Operations and tokens of the current step."""
        bucket, size = self._plan.bucket(self._step), self._config.data.batch
        trains, with_audio = self._stage.trains, self._stage.uses_sync
        flops = step_flops(self._model, bucket, trains=trains, with_audio=with_audio)
        return {"flops": size * flops, "tokens": size * tokens_of(bucket)}

    def _end_step(self, steps_in_stage: int, log: ProgressLog, board: Board) -> None:
        """Validation and a checkpoint where they are due; at a stage's end its averages become the weights."""
        last, every = self._step == self._plan.total_steps, self._config.validation.every
        if every and (last or self._step % every == 0):
            self._model.eval()
            with self._ema.in_place():
                measured = self._validation.measure(self._out / "validation" / f"step-{self._step:08d}")
            self._model.train()
            board.scalars(measured, self._step)
            log.say(f"validation after step {self._step}: {', '.join(f'{k} {v:.4f}' for k, v in measured.items())}")
        if steps_in_stage == self._stage.steps:
            self._ema.copy_to_weights()
            if not last:
                self._begin_stage(self._stage_number + 1)
        if last or self._step % self._config.checkpoints.every == 0:
            in_stage = not last and self._plan.position(self._step).step_in_stage > 0
            facts = {
                "stage": self._stage_name if in_stage else None,
                "usual": self._usual.as_facts(),
                "config": self._config.model_dump(mode="json"),
                "identity": identity_facts(self._identity),
            }
            self._checkpoints.save(self._step, self._tensors(in_stage=in_stage), facts)

    def _tensors(self, *, in_stage: bool) -> dict[str, Tensor]:
        """What a checkpoint holds. At the very start of a stage there is neither average nor optimizer."""
        tensors = {f"weights.{name}": value.detach() for name, value in self._model.named_parameters()}
        if in_stage:
            tensors |= {f"ema.{name}": value for name, value in self._ema.averages.items()}
            tensors |= optimizer_tensors(self._optimizer, self._parameters)
        return tensors
