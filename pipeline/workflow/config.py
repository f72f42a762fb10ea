"""A workflow as a file says it."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.configuration import Configuration, read_yaml, validated

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,40}$")]


class Resume(Configuration):
    """How a step is told that it was begun before."""

    where: str = Field(description="A file or folder that is there once the step was begun")
    arguments: tuple[str, ...] = Field(min_length=1, description="Given beside the others then, such as --resume")


class Step(Configuration):
    """A command, or a gate where people have their say. Paths are relative to the workflow's file."""

    name: Name = Field(description="By which other steps and people name it")
    humo: tuple[str, ...] = Field(default=(), description="The arguments of `humo`, from the command's name on")
    gate: str = Field(default="", description="What people are asked; the workflow waits until they approve")
    needs: tuple[Name, ...] | None = Field(
        default=None, description="Steps before it whose outputs it stands on; left out: the one before"
    )
    takes: tuple[str, ...] = Field(
        default=(), description="Files and folders that no step makes; a change of theirs does the step again"
    )
    makes: tuple[str, ...] = Field(
        default=(), description="Files, folders or addresses by whose content the step is known to be done"
    )
    resume: Resume | None = Field(default=None, description="For commands that go on only when told to")
    afresh: tuple[str, ...] = Field(
        default=(),
        description="Files and folders of its own that are moved aside where what it stands on has changed since it "
        "was begun: for commands that go on with what is there, or refuse to",
    )
    failures: Literal["stop", "go-on"] = Field(
        default="stop", description="Whether a command that is done, but for items on record, ends the workflow"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.humo) == bool(self.gate):
            raise ValueError(f"step {self.name!r} needs either 'humo' or 'gate'")
        if self.humo and not self.makes:
            raise ValueError(f"step {self.name!r} needs 'makes', by which it is known to be done")
        if self.gate and (self.makes or self.takes or self.resume or self.afresh):
            raise ValueError(f"gate {self.name!r} takes and makes nothing")
        for place in self.afresh:
            if "://" in place or Path(place).is_absolute() or ".." in Path(place).parts:
                raise ValueError(f"step {self.name!r}: 'afresh' moves what lies beside the workflow, not {place}")
        return self


class Workflow(Configuration):
    """`humo run FILE`."""

    records: str = Field(default="workflow", description="Folder of the records of done steps")
    steps: tuple[Step, ...] = Field(min_length=1, description="In the order in which they are done")

    @model_validator(mode="after")
    def _known_needs(self) -> Self:
        known: set[str] = set()
        for step in self.steps:
            if step.name in known:
                raise ValueError(f"two steps are named {step.name!r}")
            for need in step.needs or ():
                if need not in known:
                    raise ValueError(f"step {step.name!r} needs {need!r}, which does not come before it")
            known.add(step.name)
        return self

    def needs_of(self, step: Step) -> tuple[str, ...]:
        """Steps whose outputs this one stands on."""
        if step.needs is not None:
            return step.needs
        before = self.steps[: self.steps.index(step)]
        return (before[-1].name,) if before else ()


def read_workflow(path: Path) -> Workflow:
    """From a YAML file. Raises UserError that names what is wrong."""
    return validated(Workflow, read_yaml(path), where=str(path))
