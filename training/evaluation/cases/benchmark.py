"""A benchmark set: cases with their texts, references, speech and, where there is one, the true video.

    SET/cases.json      what this file describes
    SET/files/...       what it names

A set is what its fingerprint says: the digests of all its files are part of it, and a file that differs is refused, so
that two evaluations with one fingerprint were asked the same. `read_set` also takes a file in the official
`test_case.json` form, of which it makes a set that nothing is known about.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from humo.cases import SAFE_NAME, Request, read_cases
from schemas.errors import UserError

SCHEMA = "humo.cases/1"
SET_FILE = "cases.json"
UNKNOWN = "unknown"

Kind = Literal["identity", "source", "near-duplicate"]
KINDS: tuple[Kind, ...] = ("identity", "source", "near-duplicate")


class Record(BaseModel):
    """Base of the records: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MediaFile(Record):
    """A file of a case."""

    path: str
    """Relative to the set; absolute in a set made of a file in the official form."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Case(Record):
    """One video to make."""

    name: str
    """Names the case's video: letters, digits, spaces and . _ -"""
    text: str = Field(min_length=1)
    references: tuple[MediaFile, ...] = ()
    """Best first."""
    speech: MediaFile | None = None
    video: MediaFile | None = None
    """The true video: for the eye and as an upper end of the scale, never shown to the model."""
    frames: str | None = None
    """4n+1, or `audio` for the speech's length; the model's own where None, as the next one."""
    size: str | None = None
    """HEIGHTxWIDTH."""
    steps: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0)
    """Of the noise; drawn from the case's name where None."""
    mode: str | None = None
    """TIA, TA, TI or T."""
    source: str | None = None
    """The footage it is from."""
    identities: tuple[str, ...] = ()
    """Who is to be seen."""
    licence: str | None = None


class Check(Record):
    """Whether cases share something with what a model was trained on."""

    kind: Kind
    outcome: Literal["none", "leaks", "unknown"]
    """`none`: looked for and not found. `unknown`: could not be looked for; `detail` says why."""
    detail: str
    accepted: bool = False
    """The user took the set all the same. Everything that is told of it then says so."""


class CaseSet(Record):
    """A benchmark set."""

    schema_: Literal["humo.cases/1"] = Field(default="humo.cases/1", alias="schema")
    name: str
    made_from: str
    """In words."""
    checks: tuple[Check, ...] = ()
    """Empty where nothing is known of any training."""
    cases: tuple[Case, ...] = Field(min_length=1)

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @property
    def fingerprint(self) -> str:
        """16 hex digits of everything that is asked: the cases without their places on this machine."""
        asked = [_without_paths(case) for case in sorted(self.cases, key=lambda case: case.name)]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def warnings(self) -> list[str]:
        """What a reader of the numbers must know of the set."""
        if not self.checks:
            return ["not known what this set shares with any training"]
        return [f"{check.kind}: {check.detail}" for check in self.checks if check.outcome != "none"]


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_set(folder: Path, cases: CaseSet) -> None:
    """Write `cases.json`; the files it names are there already."""
    content = {**cases.model_dump(mode="json", by_alias=True), "fingerprint": cases.fingerprint}
    (folder / SET_FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_set(where: Path) -> tuple[CaseSet, Path]:
    """A set and the folder its paths are relative to.

    `where`: a set's folder, its `cases.json`, or a file in the official `test_case.json` form.

    Raises UserError for anything else, for a set of another version, and for files that are not those of the set.
    """
    file = where / SET_FILE if where.is_dir() else where
    if not file.is_file():
        raise UserError(f"there is no benchmark set at {where}: make one with `humo cases`")
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(schema, str):
        return from_official(file), file.parent
    if schema != SCHEMA:
        raise UserError(f"{file} has the form {schema}, this version reads {SCHEMA}: make the set again")
    promised = content.pop("fingerprint", None)
    try:
        cases = CaseSet.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if promised != cases.fingerprint:
        raise UserError(f"{file} was changed by hand: its fingerprint is {cases.fingerprint}, it says {promised}")
    _check(cases, file.parent)
    return cases, file.parent


def from_official(file: Path) -> CaseSet:
    """A set of a file in the official `test_case.json` form. Raises UserError, also for files that are not there."""
    requests = read_cases(file, otherwise=Request(text=""))
    given = json.loads(file.read_text(encoding="utf-8"))
    cases = tuple(
        Case(
            name=name,
            text=request.text,
            references=tuple(_media(image) for image in request.images),
            speech=None if request.audio is None else _media(request.audio),
            frames=request.frames or (None if request.audio is None else "audio"),
            size=request.size,
            steps=request.steps,
            seed=given[name].get("seed"),
            mode=request.mode,
        )
        for name, request in requests.items()
    )
    return CaseSet(name=file.stem, made_from="a file in the official form", cases=cases)


def located(folder: Path, file: MediaFile) -> Path:
    """Where a file of a set lies."""
    return folder / file.path


def seed_of(case: Case, seed: int) -> int:
    """The noise of a case: the same for every model, another for every case."""
    if case.seed is not None:
        return case.seed
    return int.from_bytes(hashlib.sha256(f"{seed}:{case.name}".encode()).digest()[:6])


def _media(path: Path) -> MediaFile:
    if not path.is_file():
        raise UserError(f"the file {path} does not exist")
    return MediaFile(path=str(path.absolute()), sha256=sha256(path))


def _files(case: Case) -> list[MediaFile]:
    return [*case.references, *(file for file in (case.speech, case.video) if file is not None)]


def _check(cases: CaseSet, folder: Path) -> None:
    _check_names([case.name for case in cases.cases], folder)
    for case in cases.cases:
        for file in _files(case):
            path = (folder / file.path).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise UserError(f"{folder / SET_FILE}: {case.name} names {file.path}, which lies outside the set")
            if not path.is_file():
                raise UserError(f"the set lacks {path}: copy it again")
            if sha256(path) != file.sha256:
                raise UserError(f"{path} is not the file that the set was made with: copy it again")


def _check_names(names: Sequence[str], folder: Path) -> None:
    for name in names:
        if not SAFE_NAME.fullmatch(name):
            raise UserError(f"{folder / SET_FILE}: the case {name!r} cannot name a file")
    if len({name.casefold() for name in names}) != len(names):
        raise UserError(f"{folder / SET_FILE} has a case twice")


def _without_paths(case: Case) -> dict[str, Any]:
    asked = case.model_dump(mode="json", exclude={"references", "speech", "video"})
    for name in ("speech", "video"):
        file: MediaFile | None = getattr(case, name)
        asked[name] = None if file is None else file.sha256
    return {**asked, "references": [file.sha256 for file in case.references]}
