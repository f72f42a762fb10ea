"""What went wrong in a run, on record: samples that could not be used, steps that were skipped."""

import json
from pathlib import Path
from typing import Any

from schemas.errors import WorkFailed
from training.batch import Batch, Damage
from training.config import TrainingConfig
from training.parallel import World
from training.progress import ProgressLog
from training.reading import ReadFailed


class Diverged(WorkFailed):
    """The loss or its gradient is no number any more, or no sample of a batch can be used."""


class Ledger:
    """Every process makes all the calls; the first writes `damaged.jsonl` and `skipped.jsonl`."""

    def __init__(self, config: TrainingConfig, out: Path, world: World) -> None:
        self._config, self._out, self._world = config, out, world
        self.damaged: dict[str, Damage] = {}
        """By key."""
        self.skipped = 0
        """Steps."""

    def damage(self, batch: Batch, log: ProgressLog) -> None:
        """Take in a step's damaged samples. Raises WorkFailed where they end the run."""
        # Those with the same samples read them each for itself: what one of them meets counts as well.
        if not self._world.totals({"damaged": len(batch.damaged)}, sharers=True)["damaged"]:
            return
        damaged = self._world.gathered(batch.damaged)
        if unread := [damage for damage in damaged if damage.unread]:
            raise ReadFailed(f"step {batch.step}: {unread[0].reason}. Once it can be read, --resume goes on")
        for damage in damaged:
            if damage.key not in self.damaged:
                self.damaged[damage.key] = damage
                log.say(f"damaged sample {damage.key}, left out: {damage.reason}")
                self._append("damaged.jsonl", {"key": damage.key, "reason": damage.reason})
        if self._config.data.damaged == "stop":
            raise WorkFailed(f"step {batch.step}: the sample {damaged[0].key} cannot be used: {damaged[0].reason}")
        valid = float(self._world.least(batch.weight_b).sum())
        if not self._world.totals({"valid": valid})["valid"]:
            raise Diverged(f"step {batch.step}: no sample of the batch can be used. First: {damaged[0].reason}")

    def skip(self, batch: Batch, *, where: str, reason: str, in_a_row: int, log: ProgressLog) -> None:
        """Take in a step that is to change nothing. Raises Diverged where the policy is to stop."""
        self.skipped += 1
        keys = self._world.gathered(batch.keys)
        line = f"{where}: {reason}, samples {', '.join(keys)}"
        self._append("skipped.jsonl", {"step": batch.step, "reason": reason, "keys": keys})
        if self._config.trouble.policy == "stop":
            raise Diverged(f"{line}. Lower the learning rate or leave the sample out")
        if in_a_row > self._config.trouble.patience:
            raise Diverged(f"{line}. {in_a_row} steps in a row were skipped")
        log.say(f"skipped {line}")

    def _append(self, name: str, entry: dict[str, Any]) -> None:
        if self._world.first:
            with (self._out / name).open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
