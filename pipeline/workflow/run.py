"""A workflow on one machine: what is done is known by its outputs, and a killed run goes on where it was.

A step is done where its record names the command, the inputs and the outputs as they are now. So a step is done again
when something before it came out otherwise, and only then; an approval holds for what it was given on.
"""

import getpass
import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal

import psutil

from pipeline.store.files import Files
from pipeline.store.writer import writing
from pipeline.workflow.config import Step, read_workflow
from pipeline.workflow.outputs import Absent, content_of, version_of
from schemas.command_line import COMMAND
from schemas.errors import UserError, WorkFailed

RUNNING = "running.json"
"""The process of the step in progress. It may outlive the workflow that started it."""

State = Literal["done", "to do", "waits", "not yet"]


@dataclass(frozen=True, kw_only=True)
class StepState:
    """Where a step stands, and why it is not done."""

    name: str
    state: State
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


class WorkflowRun:
    """A workflow and its records."""

    def __init__(self, path: Path) -> None:
        """Read the workflow's file; paths are relative to its folder. Raises UserError that names what is wrong."""
        self._said = str(path)
        self._workflow = read_workflow(path)
        self._base = path.resolve().parent
        self._files = Files(str(self._base / self._workflow.records))

    def states(self) -> list[StepState]:
        """Every step, as things are now."""
        found: list[StepState] = []
        open_steps: set[str] = set()
        for step in self._workflow.steps:
            blocked = [need for need in self._workflow.needs_of(step) if need in open_steps]
            if blocked:
                state = StepState(name=step.name, state="not yet", why=f"follows {', '.join(blocked)}")
            else:
                state = self._state(step)
            if state.state != "done":
                open_steps.add(step.name)
            found.append(state)
        return found

    def approve(self, name: str) -> None:
        """Let a gate pass, for the outputs before it as they are now. Raises UserError where it does not wait."""
        state = next((state for state in self.states() if state.name == name), None)
        step = next((step for step in self._workflow.steps if step.name == name), None)
        if state is None or step is None or not step.gate:
            raise UserError(f"{name!r} is no gate of this workflow")
        if state.state == "not yet":
            raise UserError(f"{name!r} does not wait for approval yet: it {state.why}")
        self._record(step, {"by": getpass.getuser()})

    def run(self, tell: Callable[[str], None]) -> None:
        """Do what is missing, in order. `tell` is told of each step as it begins and ends.

        Raises WorkFailed where a command fails or a gate waits; UserError where another run is at it.
        """
        with writing(self._files):
            self._refuse_running()
            for step in self._workflow.steps:
                state = self._state(step)
                if state.state == "done":
                    tell(f"{step.name}: done")
                    continue
                if step.gate:
                    raise WorkFailed(
                        f"{step.name} waits ({state.why}): {step.gate} "
                        f"Then give: humo run {self._said} --approve {step.name}"
                    )
                tell(f"{step.name}: {state.why}")
                began = time.monotonic()
                self._begin(step, tell)
                self._do(step, tell)
                self._record(step, {"seconds": round(time.monotonic() - began, 1)})

    def _state(self, step: Step) -> StepState:
        path = self._path(step.name)
        missing: State = "waits" if step.gate else "to do"
        if not self._files.exists(path):
            return StepState(name=step.name, state=missing, why="not approved yet" if step.gate else "not done yet")
        record = json.loads(self._files.read(path))
        if record["key"] != self._key(step):
            return StepState(name=step.name, state=missing, why="its command, its inputs or a step before changed")
        for place, digest in record["makes"].items():
            try:
                there = content_of(place, self._base)
            except Absent:
                return StepState(name=step.name, state=missing, why=f"{place} is gone")
            if there != digest:
                return StepState(name=step.name, state=missing, why=f"{place} is not what the step made")
        return StepState(name=step.name, state="done")

    def _key(self, step: Step) -> str:
        """Over all that the step's outputs follow from."""
        needs = {need: self._made(need) for need in self._workflow.needs_of(step)}
        try:
            takes = {place: version_of(place, self._base) for place in step.takes}
        except Absent as error:
            raise UserError(f"step {step.name!r} takes {error}, and there is nothing") from error
        said = [step.humo, step.gate, needs, takes]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def _made(self, name: str) -> Any:
        """What a step made, as its record says; of a gate, what stands before it."""
        record = json.loads(self._files.read(self._path(name)))
        return record["makes"] or record["key"]

    def _begin(self, step: Step, tell: Callable[[str], None]) -> None:
        """Move aside what the step made, or began to make, of something else. Nothing is deleted."""
        begun, key = f"begun/{step.name}.json", self._key(step)
        earlier = next((name for name in (begun, self._path(step.name)) if self._files.exists(name)), None)
        if earlier is not None and json.loads(self._files.read(earlier))["key"] != key:
            for place in (self._base / name for name in step.afresh):
                if place.exists():
                    aside = next(new for new in _numbered(place) if not new.exists())
                    place.rename(aside)
                    tell(f"{place.name} was made of something else: it is {aside.name} now")
        self._files.replace(begun, json.dumps({"key": key}).encode())

    def _do(self, step: Step, tell: Callable[[str], None]) -> None:
        arguments = [*step.humo]
        if step.resume is not None and (self._base / step.resume.where).exists():
            arguments += step.resume.arguments
        tell(f"$ humo {' '.join(arguments)}")
        # Its output is this command's own.
        with subprocess.Popen([*COMMAND, *arguments], cwd=self._base) as process, self._known(step, process):
            code = process.wait()
        if code and not (code == 1 and step.failures == "go-on"):
            raise WorkFailed(f"step {step.name!r} ended with {code}; give the same command again to go on from it")

    @contextmanager
    def _known(self, step: Step, process: "subprocess.Popen[bytes]") -> Iterator[None]:
        """Remember the process while it goes on; end it with the workflow."""
        said = {"step": step.name, "pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        self._files.replace(RUNNING, json.dumps(said).encode())
        try:
            yield
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            self._files.remove(RUNNING)

    def _refuse_running(self) -> None:
        if not self._files.exists(RUNNING):
            return
        said = json.loads(self._files.read(RUNNING))
        try:
            process = psutil.Process(said["pid"])
            goes_on = process.create_time() == said["started"] and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            goes_on = False
        if goes_on:
            raise UserError(
                f"step {said['step']!r} of a workflow that was killed still goes on, as process {said['pid']}; "
                "wait for it, or end it, and give the same command again"
            )
        self._files.remove(RUNNING)

    def _record(self, step: Step, more: dict[str, Any]) -> None:
        try:
            makes = {place: content_of(place, self._base) for place in step.makes}
        except Absent as error:
            raise WorkFailed(f"step {step.name!r} ended well, but made no {error}") from error
        at = datetime.now(UTC).isoformat(timespec="seconds")
        record = {"key": self._key(step), "makes": makes, "at": at, **more}
        self._files.replace(self._path(step.name), json.dumps(record, indent=1, sort_keys=True).encode())

    @staticmethod
    def _path(name: str) -> str:
        return f"steps/{name}.json"


def _numbered(place: Path) -> Iterator[Path]:
    return (place.with_name(f"{place.name}.{number}") for number in count(1))
