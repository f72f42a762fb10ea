"""Which sample stands in which place of which step: a function of the index, the configuration and the seed alone.

Nothing is remembered between steps. A run that stops after step n goes on with step n, and however many devices and
workers share the slots, they are the same slots.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from schemas.errors import UserError
from training.config import Data, Stage
from training.dataset import IndexRow
from training.draws import Draw, generator

Task = Literal["subject", "sync"]
_TASKS: tuple[Task, Task] = ("subject", "sync")


@dataclass(frozen=True, order=True)
class Bucket:
    """Samples that can stand in one batch."""

    height: int
    width: int
    frames: int
    references: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}, {self.frames} frames, {self.references} references"


@dataclass(frozen=True)
class Slot:
    """One place in a step and what stands there."""

    step: int
    slot: int
    task: Task
    row: IndexRow
    bucket: Bucket
    first_frame: int
    """Where the window begins in the stored clip."""


@dataclass(frozen=True)
class Position:
    """Where a step lies among the stages."""

    stage: int
    step_in_stage: int


def bucket_of(row: IndexRow, data: Data) -> Bucket | None:
    """The bucket of a sample, or None if it is shorter than every length in use.

    One without a reference image has a place for one, where the model's form of "no image" stands.
    """
    lengths = [length for length in data.lengths if length <= row.frames]
    if not lengths:
        return None
    aspect = row.height / row.width
    height, width = min(data.sizes, key=lambda size: (abs(np.log(size[0] / size[1] / aspect)), size))
    return Bucket(height, width, max(lengths), max(1, min(row.references, data.references)))


class Plan:
    """The order of training, step by step.

    A sync sample may also be trained as a subject sample (its audio is then null), never the other way round.
    Raises UserError if no sample serves a stage.
    """

    def __init__(self, rows: Sequence[IndexRow], *, data: Data, stages: Mapping[str, Stage], seed: int) -> None:
        self._data, self._stages, self._seed = data, dict(stages), seed
        self._pools: dict[tuple[Task, Bucket], list[IndexRow]] = defaultdict(list)
        self.too_short = 0
        """Samples that no length in use fits."""
        for row in sorted(rows, key=lambda row: row.key):
            bucket = bucket_of(row, data)
            if bucket is None:
                self.too_short += 1
                continue
            self._pools["subject", bucket].append(row)
            if row.tier == "sync":
                self._pools["sync", bucket].append(row)
        self.buckets = sorted({bucket for _, bucket in self._pools})
        self._starts = np.cumsum([0, *(stage.steps for stage in stages.values())])
        self._bucket_of_step, self._sync_in_step = self._deal()
        self._drawn = self._count_drawn()
        self._order = lru_cache(maxsize=16)(self._shuffle)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_order"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._order = lru_cache(maxsize=16)(self._shuffle)

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return int(self._starts[-1])

    def position(self, step: int) -> Position:
        """The stage of a step and the step's number within it."""
        stage = int(np.searchsorted(self._starts, step, side="right")) - 1
        return Position(stage, step - int(self._starts[stage]))

    def bucket(self, step: int) -> Bucket:
        """The shape of a step's samples."""
        return self.buckets[int(self._bucket_of_step[step])]

    def slots(self, step: int) -> list[Slot]:
        """What stands in each place of a step: one bucket, the stage's mix of tasks."""
        bucket = self.bucket(step)
        sync = int(self._sync_in_step[step])
        places = generator(self._seed, Draw.TASK, step).permutation(self._data.batch)
        next_of = {
            task: int(self._drawn[step, self._bucket_of_step[step], number]) for number, task in enumerate(_TASKS)
        }
        slots = []
        for slot in range(self._data.batch):
            task: Task = "sync" if places[slot] < sync else "subject"
            row = self._draw(task, bucket, next_of[task])
            next_of[task] += 1
            free = row.frames - bucket.frames
            first_frame = int(generator(self._seed, Draw.WINDOW, step, slot).integers(0, free + 1))
            slots.append(Slot(step, slot, task, row, bucket, first_frame))
        return slots

    def _deal(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The bucket of each step, by the number of its samples, and how many slots of each step are sync."""
        buckets, sync = [], []
        for number, (name, stage) in enumerate(self._stages.items()):
            usable = [position for position, bucket in enumerate(self.buckets) if self._serves(bucket, stage)]
            if not usable:
                task, way_out = ("sync", ", or set its sync_share to 0") if stage.uses_sync else ("subject", "")
                raise UserError(
                    f"the stage {name} has no {task} samples to train on: the training split holds none of at least "
                    f"{min(self._data.lengths)} frames. Curate more{way_out}"
                )
            weights = np.array([len(self._pools["subject", self.buckets[position]]) for position in usable], float)
            draws = generator(self._seed, Draw.BUCKET, number).choice(usable, stage.steps, p=weights / weights.sum())
            buckets.append(draws)
            share = np.linspace(stage.sync_share.start, stage.sync_share.end, stage.steps)
            due = np.floor(np.cumsum(share * self._data.batch) + 1e-9)
            sync.append(np.diff(due, prepend=0.0).astype(np.int64))
        return np.concatenate(buckets), np.concatenate(sync)

    def _serves(self, bucket: Bucket, stage: Stage) -> bool:
        tasks = _TASKS if stage.uses_sync else _TASKS[:1]
        return all((task, bucket) in self._pools for task in tasks)

    def _count_drawn(self) -> npt.NDArray[np.int64]:
        """How many samples of each bucket and task were drawn before each step: (steps, buckets, tasks)."""
        counts = np.zeros((self.total_steps + 1, len(self.buckets), len(_TASKS)), np.int64)
        steps = np.arange(self.total_steps)
        counts[steps + 1, self._bucket_of_step, 0] = self._data.batch - self._sync_in_step
        counts[steps + 1, self._bucket_of_step, 1] = self._sync_in_step
        return counts.cumsum(axis=0)[:-1]

    def _draw(self, task: Task, bucket: Bucket, number: int) -> IndexRow:
        epoch, place = divmod(number, len(self._pools[task, bucket]))
        return self._order(task, bucket, epoch)[place]

    def _shuffle(self, task: Task, bucket: Bucket, epoch: int) -> list[IndexRow]:
        """One epoch: the shards shuffled, then the samples shuffled within windows of shards."""
        place = (_TASKS.index(task), bucket.height, bucket.width, bucket.frames, bucket.references, epoch)
        random = generator(self._seed, Draw.ORDER, *place)
        by_shard: dict[str, list[IndexRow]] = defaultdict(list)
        for row in self._pools[task, bucket]:
            by_shard[row.shard].append(row)
        shards = sorted(by_shard)
        random.shuffle(shards)
        order: list[IndexRow] = []
        for start in range(0, len(shards), self._data.shuffle_window):
            window = [row for shard in shards[start : start + self._data.shuffle_window] for row in by_shard[shard]]
            order.extend(window[place] for place in random.permutation(len(window)))
        return order
