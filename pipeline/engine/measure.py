"""The pass over clips: one decode of each clip for all that looks at frames, then sound, sync and captions."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import cv2

from pipeline.backends.pyav_encode import FPS
from pipeline.config import CurateConfig
from pipeline.engine.attempts import Attempts
from pipeline.engine.clip_stages import clip_stages, frame_stages
from pipeline.engine.disk import refuse_storage
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.plan import Terms, clips_part, unit_parts
from pipeline.engine.rows import About, completed, differing, unmeasured
from pipeline.engine.unit import CLIPS_PER_UNIT, Unit
from pipeline.engine.upstream import Upstream
from pipeline.engine.watch import Outcome, watch_clip
from pipeline.engine.watchdog import Watchdog
from pipeline.engine.work import DONE, Work
from pipeline.flow import MEASURE, STAGE
from pipeline.stage import BatchStage, Clip, ClipStage, FrameStage, Row, Unmeasurable
from pipeline.store.files import Files
from pipeline.store.media import local_media, put_media
from pipeline.store.parts import read_part, write_part

Turn = Callable[[str, Clip], AbstractContextManager[int | None]]
"""Entered for (stage, clip) while that is measured; may give the number of workers that died at it.

Raises Unmeasurable for a clip that is quarantined."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A unit at work."""

    clips: list[Clip]
    paths: dict[str, str]
    """Table -> the part to be written."""
    turn: Turn
    work: Work
    retries: dict[str, int]
    """Stage -> how often its failed rows were asked for again."""
    deaths: Counter[str] = field(default_factory=Counter)
    """Clip -> workers that died at it."""


@dataclass(frozen=True)
class _Settled:
    """What stays of an earlier try of a stage: rows by table, of these clips."""

    rows: dict[str, list[Row]]
    clips: frozenset[str]


class MeasurePass:
    """Runs clip-level stages on one unit after another. Models are loaded once, when the pass is made."""

    def __init__(
        self, files: Files, config: CurateConfig, session: str, stages: Sequence[str] = MEASURE, *, gpus: float = 0.0
    ) -> None:
        """`stages`: by name. What they need of others must have been done by a pass before. `gpus`: held for them."""
        cv2.setNumThreads(1)
        self._files = files
        self._engine = config.engine
        self._fingerprints = fingerprints(config)
        self._watchdog = Watchdog(files, memory_mb=config.engine.memory_mb)
        self._attempts = Attempts(files, session, self._watchdog)
        self._stages = stages
        self._gpus = gpus
        self._frame_stages = frame_stages(config, stages)
        self._clip_stages = clip_stages(config, stages)

    def __call__(self, unit: Unit) -> Unit:
        """The unit with the parts of every clip-level table, computed where they were missing."""
        if not unit.clips:
            return unit
        work = Work(gpus=self._gpus)
        terms = Terms.from_json(unit.terms)
        paths = unit_parts(unit.source_id, unit.start, terms)
        rows = read_part(self._files, clips_part(unit.source_id, terms)).to_pylist()
        clips = _clips(rows)[unit.start : unit.start + CLIPS_PER_UNIT]
        # So many that every clip may end its workers in every turn, before the unit itself is taken for the cause.
        most = self._engine.attempts * (1 + (1 + len(self._clip_stages)) * len(clips))
        seconds = self._engine.clip_seconds * len(clips)
        item = f"unit {unit.source_id} {unit.start} {' '.join(self._stages)}"
        with self._attempts.at(item, seconds=seconds, limit=most) as deaths:
            work.count("deaths", deaths)
            # A unit that ended its worker is done clip by clip, each with a marker of its own.
            turn = self._alone if deaths else self._together
            task = _Task(clips=clips, paths=paths, turn=turn, work=work, retries=terms.retries)
            missing = {name for name in self._stages if not self._there(paths, STAGE[name].tables)}
            looking = [stage for stage in self._frame_stages if stage.name in missing]
            self._look(looking, task, {stage.name: self._settled(stage.name, unit, terms) for stage in looking})
            for stage in self._clip_stages:
                if stage.name in missing:
                    self._measure(stage, task, self._settled(stage.name, unit, terms))
        work.count("progress.clip seconds", sum(clip.frames for clip in clips) / FPS)
        total = {name: unit.work.get(name, 0) + work.counts.get(name, 0) for name in {*unit.work, *work.counts}}
        return replace(unit, work=total)

    def _together(self, stage: str, clip: Clip) -> AbstractContextManager[None]:
        return self._watchdog.over(self._engine.clip_seconds)

    def _alone(self, stage: str, clip: Clip) -> AbstractContextManager[int]:
        item = f"{stage} of {clip.id} {clip.media_sha256}"
        return self._attempts.at(item, seconds=self._engine.clip_seconds, limit=self._engine.attempts)

    def _settled(self, stage: str, unit: Unit, terms: Terms) -> _Settled:
        """What a try before left, where this one differs from it by retries alone: rows of clips of which every row
        that the stage reads is the same; where its own failed rows were asked for again, not these."""
        now = unit_parts(unit.source_id, unit.start, terms)
        tables = STAGE[stage].tables
        needed = [table for need in STAGE[stage].needs if need in MEASURE for table in STAGE[need].tables]
        for earlier in terms.before_retries(stage):
            before = unit_parts(unit.source_id, unit.start, earlier)
            if not self._there(before, (*tables, *needed)):
                continue
            rows = {table: read_part(self._files, before[table]).to_pylist() for table in tables}
            again = earlier.retries.get(stage) != terms.retries.get(stage)
            todo = {row["id"] for row in rows[tables[0]] if again and row["status"] == "failed"}
            for table in needed:
                todo |= differing(*(read_part(self._files, parts[table]) for parts in (before, now)))
            kept = {
                table: [row for row in found if row.get("clip_id", row["id"]) not in todo]
                for table, found in rows.items()
            }
            return _Settled(kept, frozenset(row["id"] for row in kept[tables[0]]))
        return _Settled({}, frozenset())

    def _there(self, parts: Mapping[str, str], tables: Iterable[str]) -> bool:
        return all(self._files.exists(parts[table]) for table in tables)

    def _look(self, stages: Sequence[FrameStage], task: _Task, settled: dict[str, _Settled]) -> None:
        outcomes: dict[str, list[tuple[Clip, Outcome, float]]] = {stage.name: [] for stage in stages}
        scratch = self._files.scratch()
        try:
            for clip in task.clips:
                looking = [stage for stage in stages if clip.id not in settled[stage.name].clips]
                if not looking:
                    continue
                path = local_media(self._files, "clips", clip.media_sha256, scratch)
                try:
                    with task.turn("frames", clip) as deaths:
                        task.deaths[clip.id] += deaths or 0
                        found = watch_clip(clip, path, looking, task.work)
                except Unmeasurable as error:
                    found = {stage.name: (error, 0.0) for stage in looking}
                for name, (outcome, seconds) in found.items():
                    task.work.count(f"computed.{name}")
                    outcomes[name].append((clip, outcome, seconds))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        for stage in stages:
            self._write(stage, outcomes[stage.name], settled[stage.name], task)

    def _measure(self, stage: ClipStage, task: _Task, settled: _Settled) -> None:
        inputs = Upstream(self._files, stage.name, task.paths, task.work)
        outcomes: list[tuple[Clip, Outcome, float]] = []
        if isinstance(stage, BatchStage) and task.turn == self._together:
            self._write(stage, self._batch(stage, task, settled, inputs), settled, task)
            return
        for clip in task.clips:
            if clip.id in settled.clips:
                continue
            start = time.process_time()
            outcome: Outcome
            try:
                with task.turn(stage.name, clip) as deaths, task.work.timed(stage.name):
                    task.deaths[clip.id] += deaths or 0
                    outcome = stage.measure(clip, inputs.of(clip))
            except Exception as error:  # noqa: BLE001 (one clip's fault is recorded and must not end the run)
                refuse_storage(error)
                outcome = error
            task.work.count(f"computed.{stage.name}")
            outcomes.append((clip, outcome, time.process_time() - start))
        self._write(stage, outcomes, settled, task)

    def _batch(
        self, stage: BatchStage, task: _Task, settled: _Settled, inputs: Upstream
    ) -> list[tuple[Clip, Outcome, float]]:
        """What a stage finds out about all clips at once. Raises KeyError where it forgets one."""
        clips = [clip for clip in task.clips if clip.id not in settled.clips]
        if not clips:
            return []
        start = time.process_time()
        with self._watchdog.over(self._engine.clip_seconds * len(clips)), task.work.timed(stage.name):
            found = stage.measure_batch([(clip, inputs.of(clip)) for clip in clips])
        task.work.count(f"computed.{stage.name}", len(clips))
        seconds = (time.process_time() - start) / len(clips)
        return [(clip, found[clip.id], seconds) for clip in clips]

    def _write(
        self,
        stage: FrameStage | ClipStage,
        outcomes: list[tuple[Clip, Outcome, float]],
        settled: _Settled,
        task: _Task,
    ) -> None:
        fingerprint = self._fingerprints[stage.name]
        tables = STAGE[stage.name].tables
        rows: dict[str, list[Row]] = {table: list(settled.rows.get(table, [])) for table in tables}
        for clip, outcome, seconds in outcomes:
            attempt = 1 + task.retries.get(stage.name, 0) + task.deaths[clip.id]
            about = About(backend=stage.backend, fingerprint=fingerprint, seconds=seconds)
            if isinstance(outcome, Exception):
                task.work.failed(stage.name, clip.id, outcome)
                row = unmeasured(clip.id, outcome, attempt=attempt, **about)
                rows[tables[0]].append(row)
                continue
            for medium in outcome.media:
                put_media(self._files, medium.kind, medium.data)
                task.work.count(f"bytes.{medium.kind}", len(medium.data))
            for table, measured in outcome.rows.items():
                rows[table].extend(completed(row, attempt=attempt, **about) for row in measured)
        for table in tables:
            write_part(self._files, table, task.paths[table], rows[table])
        task.work.count(f"{DONE}{stage.name}", len(task.clips))


def _clips(rows: list[Row]) -> list[Clip]:
    ok = sorted((row for row in rows if row["status"] == "ok"), key=lambda row: row["start_us"])
    names = Clip.__dataclass_fields__
    return [Clip(**{name: row[name] for name in names}) for row in ok]
