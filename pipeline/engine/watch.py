"""One decode of one clip, shown to every stage that looks at frames."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.backends.pyav_decode import clip_frames
from pipeline.engine.disk import refuse_storage
from pipeline.engine.work import Work
from pipeline.stage import Clip, ClipFrame, FrameMeter, FrameStage, Measured, Unmeasurable

Outcome = Measured | Exception
"""What a stage found out about a clip, or why it did not."""


class _Watch:
    """A stage looking at a clip. After its first error it looks away; the others go on."""

    def __init__(self, stage: FrameStage, clip: Clip) -> None:
        self.stage = stage
        self.seconds = 0.0
        self.wall = 0.0
        self.outcome: Outcome | None = None
        self._meter: FrameMeter | None = None
        with self._guarded():
            self._meter = stage.start(clip)

    def add(self, index: int, frame: ClipFrame) -> None:
        if self._meter is not None and self.outcome is None:
            with self._guarded():
                self._meter.add(index, frame)

    def finish(self) -> None:
        if self._meter is not None and self.outcome is None:
            with self._guarded():
                self.outcome = self._meter.finish()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        start, began = time.process_time(), time.monotonic()
        try:
            yield
        except Exception as error:  # noqa: BLE001 (one clip's fault is recorded and must not end the run)
            refuse_storage(error)
            self.outcome = error
        finally:
            self.seconds += time.process_time() - start
            self.wall += time.monotonic() - began


def watch_clip(clip: Clip, path: Path, stages: Sequence[FrameStage], work: Work) -> dict[str, tuple[Outcome, float]]:
    """Stage name -> its outcome and its processor seconds. A clip that cannot be decoded fails every stage."""
    watches = [_Watch(stage, clip) for stage in stages]
    work.count("decodes.measure")
    start, began = time.process_time(), time.monotonic()
    try:
        for index, frame in clip_frames(path):
            work.spent("decode", time.process_time() - start, time.monotonic() - began)
            for watch in watches:
                watch.add(index, frame)
            start, began = time.process_time(), time.monotonic()
    except Exception as error:  # noqa: BLE001 (one clip's fault is recorded and must not end the run)
        refuse_storage(error)
        cause = Unmeasurable(f"the clip cannot be decoded: {type(error).__name__}: {error}")
        return {stage.name: (cause, 0.0) for stage in stages}
    results: dict[str, tuple[Outcome, float]] = {}
    for watch in watches:
        watch.finish()
        assert watch.outcome is not None
        results[watch.stage.name] = (watch.outcome, watch.seconds)
        work.spent(watch.stage.name, watch.seconds, watch.wall)
    return results
