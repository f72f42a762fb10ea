"""The training loop: stage after stage, step after step, each a function of the plan and of the weights before it."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from humo.checkpoints import Model, load_model_dir, save_model_dir
from humo.mini.model import mini_model
from schemas.errors import UserError, WorkFailed
from training.checkpoint import (
    Checkpoint,
    RunIdentity,
    load_newest,
    optimizer_tensors,
    refuse_difference,
    restore_optimizer,
    save_checkpoint,
)
from training.config import TrainingConfig
from training.dataset import ShardSet, hold_out, open_shard_set, pin_shard_set, verify_shards
from training.ema import Ema
from training.encoding import BatchEncoder
from training.evaluation import Swap, SwapTest, write_swaps
from training.loader import Batch, Batches, Damage, batches_from
from training.objective import Losses, losses
from training.plan import Plan
from training.progress import ProgressLog, StepRecord
from training.stages import describe, learning_rate, make_optimizer, select


class Diverged(WorkFailed):
    """The loss or its gradient is no number any more, or no sample of a batch can be used."""


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run leaves."""

    steps: int
    """Of all stages."""
    seconds: float
    """Of this call."""
    damaged: int
    """Samples met in this call that could not be used; `damaged.jsonl` says which and why."""
    swaps: tuple[Swap, Swap]
    """Audio, reference."""
    model: Path
    """The model directory, for `humo generate --model`."""


def train(config: TrainingConfig, *, data: str, out: Path, resume: bool) -> TrainingResult:
    """Train through all stages on the shards of a manifest, export the model and run the swap test.

    Args:
        config: what to do.
        data: the manifest, or the folder that holds it, anywhere fsspec can read.
        out: a local folder for checkpoints, logs, `model/` and `swap_test.json`.
        resume: go on from the newest checkpoint in `out`, bit for bit as if nothing had happened.

    Raises:
        UserError: no such data, nothing to train on, `out` is of another run or is there already.
        Diverged: the loss is no number; the line names the step and its samples.
    """
    began = time.monotonic()
    run_file = out / "run.json"
    if not resume and out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is there already: give --resume to go on with it, or another --out")
    if resume and not run_file.is_file():
        raise UserError(f"nothing to resume in {out}: it holds no run. Leave --resume out to start one")
    if config.threads:
        torch.set_num_threads(config.threads)
    pinned = out / "data"
    trainer = Trainer(config, shards=open_shard_set(data, pinned=pinned if resume else None), out=out)
    if resume:
        stored = json.loads(run_file.read_text())
        refuse_difference(RunIdentity(stored["meaning"], stored["manifest"]), trainer.identity, where=out)
        trainer.restore()
    else:
        pin_shard_set(trainer.shards, pinned)
        run_file.write_text(
            json.dumps({"config": config.model_dump(mode="json"), **asdict(trainer.identity)}, indent=1) + "\n"
        )
    swaps = trainer.run()
    return TrainingResult(
        steps=config.total_steps,
        seconds=time.monotonic() - began,
        damaged=len(trainer.damaged),
        swaps=swaps,
        model=trainer.model_dir,
    )


def start_model(config: TrainingConfig, device: torch.device) -> Model:
    """The model that training begins from, in float32 on the device. Raises UserError for an unfit model directory."""
    if config.model.start != "mini":
        return load_model_dir(Path(config.model.start), device=device, dtype=torch.float32)
    model = mini_model(config.seed)
    return replace(model, transformer=model.transformer.to(device))  # type: ignore[arg-type]


class Trainer:
    """One run in one process."""

    def __init__(self, config: TrainingConfig, *, shards: ShardSet, out: Path) -> None:
        self._config, self._out = config, out
        self.model_dir = out / "model"
        self.damaged: dict[str, Damage] = {}
        """By key."""
        self.shards = shards
        self.identity = RunIdentity(config.meaning(), shards.manifest.fingerprint)
        rows = [row for row in shards.rows if row.split == "train"]
        if not rows:
            raise UserError(f"{shards.folder} has no samples in its training split: nothing to train on")
        trained, held_out = hold_out(rows, config.data.hold_out)
        self._plan = Plan(trained, data=config.data, stages=config.stages, seed=config.seed)
        verify_shards(shards, hashes=config.data.verify)
        self._batches = Batches(shards, self._plan, config)
        self._swap_test = SwapTest(shards, self._plan, config, held_out=held_out, donors=trained)
        self._device = torch.device(config.device)
        self._whole = start_model(config, self._device)
        self._model = self._whole.transformer.train()
        self._encoder = BatchEncoder(self._whole, self._device)
        self._step = 0
        self._begin_stage(0)
        self._facts = (
            f"{len(trained)} samples to train on ({self._plan.too_short} too short), {len(held_out)} held out; "
            f"{len(self._plan.buckets)} shapes: {'; '.join(map(str, self._plan.buckets))}"
        )

    def restore(self) -> None:
        """Take up the newest checkpoint, if there is one. Raises UserError if another run wrote it."""
        checkpoint = load_newest(self._out / "checkpoints", self.identity)
        if checkpoint is None:
            return
        self._step = checkpoint.step
        self._model.load_state_dict(checkpoint.weights)
        if self._step < self._plan.total_steps:
            position = self._plan.position(self._step)
            self._begin_stage(position.stage)
            if position.step_in_stage:
                self._ema.load(checkpoint.ema)
                restore_optimizer(self._optimizer, self._parameters, checkpoint.optimizer)

    def run(self) -> tuple[Swap, Swap]:
        """All steps that are left, then the export and the swap test."""
        total = self._plan.total_steps
        batches = batches_from(self._batches, self._step, workers=self._config.data.workers)
        with ProgressLog(self._out / "log.jsonl", total=total, done=self._step) as log:
            log.say(self._facts)
            described = ""
            while self._step < total:
                if described != self._stage_name:
                    log.say(describe(self._model, self._stage_name, self._stage))
                    described = self._stage_name
                self._train_step(batches, log)
            self._model.eval()
            swaps = self._swap_test.measure(self._model, self._encoder)
            write_swaps(swaps, self._out / "swap_test.json")
            for swap in swaps:
                log.say(swap.line())
            save_model_dir(self.model_dir, self._whole)
        return swaps

    def _begin_stage(self, number: int) -> None:
        self._stage_name, self._stage = list(self._config.stages.items())[number]
        self._parameters = select(self._model, self._stage_name, self._stage)
        self._optimizer = make_optimizer(self._parameters, self._config.optimizer, self._stage)
        self._ema = Ema(self._parameters, decay=self._config.optimizer.ema_decay)

    def _train_step(self, batches: Iterator[Batch], log: ProgressLog) -> None:
        began = time.monotonic()
        batch = next(batches)
        waited = time.monotonic() - began
        self._record_damage(batch, log)
        position = self._plan.position(self._step)
        rate = learning_rate(self._stage, position.step_in_stage)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        encoded = self._encoder.encode(batch, with_audio=self._stage.uses_sync)
        found = losses(self._model, encoded, self._config.objective)
        self._optimizer.zero_grad(set_to_none=True)
        found.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters.values(), self._config.optimizer.clip_norm)
        if not (torch.isfinite(found.total) and torch.isfinite(norm)):
            raise Diverged(
                f"step {self._step} of stage {self._stage_name}: loss {found.total.item()}, "
                f"gradient norm {norm.item()}, samples {', '.join(batch.keys)}. "
                "Lower the learning rate or leave the sample out"
            )
        self._optimizer.step()
        self._ema.update(position.step_in_stage)
        log.add(self._record(batch, found, norm, rate, time.monotonic() - began, waited))
        self._step += 1
        self._end_step(position.step_in_stage + 1)

    def _end_step(self, steps_in_stage: int) -> None:
        """At a stage's end its averages become the weights; then a checkpoint, where one is due."""
        last = self._step == self._plan.total_steps
        if steps_in_stage == self._stage.steps:
            self._ema.copy_to_weights()
            if not last:
                self._begin_stage(self._plan.position(self._step).stage)
        if last or self._step % self._config.checkpoints.every == 0:
            in_stage = not last and self._plan.position(self._step).step_in_stage > 0
            save_checkpoint(
                self._out / "checkpoints",
                Checkpoint(
                    step=self._step,
                    weights=self._model.state_dict(),
                    ema=self._ema.averages if in_stage else {},
                    optimizer=optimizer_tensors(self._optimizer, self._parameters) if in_stage else {},
                ),
                self.identity,
                keep=self._config.checkpoints.keep,
            )

    def _record_damage(self, batch: Batch, log: ProgressLog) -> None:
        for damage in batch.damaged:
            if damage.key not in self.damaged:
                self.damaged[damage.key] = damage
                log.say(f"damaged sample {damage.key}, left out: {damage.reason}")
                with (self._out / "damaged.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(damage)) + "\n")
        if len(batch.damaged) == len(batch.keys):
            raise Diverged(f"step {batch.step}: no sample of the batch can be used. First: {batch.damaged[0].reason}")

    def _record(
        self, batch: Batch, found: Losses, norm: Tensor, rate: float, seconds: float, waited: float
    ) -> StepRecord:
        sync = torch.tensor([task == "sync" for task in batch.tasks]) & (batch.weight_b > 0)
        return StepRecord(
            step=self._step,
            stage=self._stage_name,
            loss=found.velocity.item(),
            loss_sync=float(found.velocity_b.cpu()[sync].mean()) if sync.any() else None,
            mask_loss=found.mask.item(),
            gradient_norm=norm.item(),
            learning_rate=rate,
            valid=int(batch.weight_b.sum()),
            seconds=round(seconds, 4),
            waited=round(waited, 4),
        )
