"""The pass over sources: find the shots, cut the clips."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from pipeline.config import CurateConfig
from pipeline.engine.attempts import Attempts
from pipeline.engine.disk import refuse_storage
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.pending import Committed, restore
from pipeline.engine.plan import Terms, clips_part, shots_parts
from pipeline.engine.removal import overlaps
from pipeline.engine.rows import completed, unmeasured
from pipeline.engine.unit import Unit, unit_starts
from pipeline.engine.watchdog import Watchdog
from pipeline.engine.work import Work
from pipeline.stage import Row, Source
from pipeline.stages import clips as clips_stage
from pipeline.stages import shots as shots_stage
from pipeline.store.files import Files
from pipeline.store.media import put_media
from pipeline.store.parts import read_part, write_part
from pipeline.weights.locate import Weights


class _From(TypedDict):
    backend: str
    fingerprint: str


class Footage:
    """A source's file, brought to this disk when it is first read: most work on a source does without it."""

    def __init__(self, files: Files, source_id: str, path: str) -> None:
        self.id = source_id
        self._files = files
        self._path = path
        self._folder: Path | None = None
        self._source: Source | None = None

    def source(self) -> Source:
        """Where it lies on this disk, or where its copy in the run does; a copy elsewhere is brought here, once."""
        if self._source is None:
            self._source = Source(id=self.id, path=self._local())
        return self._source

    def close(self) -> None:
        """Remove what was brought here."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _local(self) -> Path:
        if Path(self._path).is_absolute():
            return Path(self._path)
        here = self._files.local_path(self._path)
        if here is None:
            self._folder = self._files.scratch()
            here = self._folder / self.id
            self._files.fetch(self._path, here)
        return here


@contextmanager
def local_source(files: Files, source_id: str, path: str) -> Iterator[Footage]:
    """A source of which nothing stays on this disk that was not there before."""
    footage = Footage(files, source_id, path)
    try:
        yield footage
    finally:
        footage.close()


class CutPass:
    """Runs `shots` and `clips` on one source after another. What a commit or an earlier try left whole is kept."""

    def __init__(self, files: Files, config: CurateConfig, session: str, *, gpus: float = 0.0) -> None:
        """`gpus`: held while it works."""
        self._files = files
        self._gpus = gpus
        self._config = config
        self._find_cuts = shots_stage.cut_finder(config.shots, Weights(config.weights.own), device=config.engine.device)
        self._fingerprints = fingerprints(config)
        self._attempts = Attempts(files, session, Watchdog(files, memory_mb=config.engine.memory_mb))

    def __call__(self, footage: Footage, terms: Terms, committed: Committed | None) -> Iterator[Unit]:
        """The units of this source under these terms, in time order. What is committed and still valid is kept."""
        work = Work(gpus=self._gpus)
        if committed is not None:
            restore(self._files, footage.id, committed)
        parts = shots_parts(footage.id, terms)
        if not all(self._files.exists(path) for path in parts.values()):
            self._find_shots(footage.source(), parts, terms, work)
        clips_path = clips_part(footage.id, terms)
        if not self._files.exists(clips_path):
            self._cut(footage, parts["shots"], clips_path, terms, work)
        clips = read_part(self._files, clips_path).to_pylist()
        count = sum(row["status"] == "ok" for row in clips)
        failed = [row["error"] for row in (*read_part(self._files, parts["sources"]).to_pylist(), *clips)]
        starts = unit_starts(count)
        for number, start in enumerate(starts):
            yield Unit(
                source_id=footage.id,
                terms=terms.to_json(),
                start=start,
                clips=count,
                number=number,
                of=len(starts),
                work=dict(work.counts) if number == 0 else {},
                error=None if count else next((error for error in failed if error), None),
            )

    @contextmanager
    def _attempt(self, stage: str, source: Source, work: Work) -> Iterator[int]:
        """Gives the number of workers that died at it."""
        engine = self._config.engine
        item = f"{stage} of {source.id}"
        with self._attempts.at(item, seconds=engine.source_seconds, limit=engine.attempts) as deaths:
            work.count("deaths", deaths)
            yield deaths

    def _find_shots(self, source: Source, parts: dict[str, str], terms: Terms, work: Work) -> None:
        start, attempt = time.process_time(), 1 + terms.retries.get("shots", 0)
        rows: dict[str, list[Row]] = {"sources": [], "shots": []}
        about: _From = {
            "backend": shots_stage.backend_of(self._config.shots),
            "fingerprint": self._fingerprints["shots"],
        }
        work.count("decodes.shots")
        work.count("computed.shots")
        work.count("bytes.footage", source.path.stat().st_size if source.path.exists() else 0)
        try:
            with self._attempt("shots", source, work) as deaths, work.timed("shots"):
                attempt += deaths
                found = shots_stage.detect_shots(source, self._config.shots, self._find_cuts)
        except Exception as error:  # noqa: BLE001 (one source's fault is recorded and must not end the run)
            refuse_storage(error)
            seconds = time.process_time() - start
            work.failed("shots", source.id, error)
            rows["sources"] = [unmeasured(source.id, error, seconds=seconds, attempt=attempt, **about)]
        else:
            seconds = time.process_time() - start
            for table, measured in found.rows.items():
                rows[table] = [completed(row, seconds=seconds, attempt=attempt, **about) for row in measured]
        for table, path in parts.items():
            write_part(self._files, table, path, rows[table])

    def _cut(self, footage: Footage, shots_part: str, clips_path: str, terms: Terms, work: Work) -> None:
        shots = [row for row in read_part(self._files, shots_part).to_pylist() if row["status"] == "ok"]
        shots.sort(key=lambda row: row["start_us"])
        about: _From = {"backend": clips_stage.BACKEND, "fingerprint": self._fingerprints["clips"]}
        rows: list[Row] = []
        start, attempt = time.process_time(), 1 + terms.retries.get("clips", 0)
        if shots:
            source = footage.source()
            work.count("decodes.clips")
            work.count("computed.clips")
            scratch = self._files.scratch()
            try:
                with self._attempt("clips", source, work) as deaths, work.timed("clips"):
                    attempt += deaths
                    for measured in clips_stage.cut_clips(source, shots, self._config.clips, scratch):
                        if any(overlaps(row, terms.removed) for row in measured.rows["clips"]):
                            continue
                        for medium in measured.media:
                            put_media(self._files, medium.kind, medium.data)
                            work.count(f"bytes.{medium.kind}", len(medium.data))
                        seconds = time.process_time() - start
                        rows.extend(
                            completed(row, seconds=seconds, attempt=attempt, **about) for row in measured.rows["clips"]
                        )
                        start = time.process_time()
            except Exception as error:  # noqa: BLE001 (one source's fault is recorded and must not end the run)
                refuse_storage(error)
                work.failed("clips", source.id, error)
                seconds = time.process_time() - start
                rows.append(unmeasured(source.id, error, seconds=seconds, attempt=attempt, **about))
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        write_part(self._files, "clips", clips_path, rows)
