"""Many videos from one JSON file: the official `test_case.json` form, in which a case may also set its own size.

    {"name": {"prompt": "...", "img_paths": ["a.png"], "audio_path": "a.wav", "frames": 97, "size": "480x832"}}

Relative paths are looked up beside the file, then in the current folder (where the official code looks).
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import UserError

SAFE_NAME = re.compile(r"[\w][\w.\- ]{0,99}")


class Case(BaseModel):
    """One video to make; what is absent is taken from the command line, then from the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    """What the video shows. Underscores become spaces and quotes around it go (official code)."""
    img_paths: list[str] | None = None
    """Reference images."""
    audio_path: str | None = None
    """Speech."""
    frames: str | int | None = None
    """4n+1, or "audio"."""
    size: str | None = None
    """HEIGHTxWIDTH."""
    seed: int | None = Field(default=None, ge=0)
    """Of the noise."""
    steps: int | None = Field(default=None, ge=1)
    """Sampling steps."""
    mode: str | None = None
    """TIA, TA, TI or T."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One video to make, as the user gave it."""

    text: str
    images: tuple[Path, ...] = ()
    audio: Path | None = None
    frames: str | None = None
    size: str | None = None
    steps: int | None = None
    seed: int = 0
    mode: str | None = None


def read_cases(path: Path, *, otherwise: Request) -> dict[str, Request]:
    """By name.

    Args:
        path: the file.
        otherwise: gives what a case leaves open.

    Raises:
        UserError: for a file that is no such list, naming the case and what is wrong with it.
    """
    if not path.is_file():
        raise UserError(f"the case file {path} does not exist")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path} is no JSON object of cases by name")
    requests: dict[str, Request] = {}
    for name, given in content.items():
        if not SAFE_NAME.fullmatch(name):
            raise UserError(f"{path}: the case {name!r} cannot name a file; use letters, digits, spaces and . _ -")
        try:
            case = Case.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"{path}: {name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        requests[name] = Request(
            text=case.prompt.strip().replace("_", " ").strip('"'),
            images=tuple(_located(path, image) for image in case.img_paths or ()),
            audio=_located(path, case.audio_path) if case.audio_path else None,
            frames=otherwise.frames if case.frames is None else str(case.frames),
            size=case.size or otherwise.size,
            steps=case.steps or otherwise.steps,
            seed=otherwise.seed if case.seed is None else case.seed,
            mode=case.mode or otherwise.mode,
        )
    return requests


def _located(cases: Path, name: str) -> Path:
    beside = cases.parent / name
    return beside if beside.exists() else Path(name)
