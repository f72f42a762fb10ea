"""Where weights lie: in the cache, or in a folder that the user names; and whether they are the right ones."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.weights.table import weight_named
from pipeline.weights.weight import Weight, WeightFile
from schemas.errors import UserError

CACHE = "HUMO_CACHE"
RECORD = ".humo.json"
"""In a weight's folder, and for the user's own files in the cache's: what was found of each when it was last read."""
BLOCK = 1 << 22

State = Literal["present", "incomplete", "wrong", "missing"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A weight's folder, and what rows record of it: the beginning of its digest, or the folder's name."""

    folder: Path
    version: str


def cache_folder() -> Path:
    """The one cache of this machine: the variable HUMO_CACHE, else `~/.cache/humo`."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "humo").expanduser()


class Weights:
    """Finds weights by name. `own`: name -> a folder of the user's in the published layout, taken as it is."""

    def __init__(self, own: Mapping[str, Path]) -> None:
        self._own = dict(own)

    def find(self, name: str) -> Found:
        """Raises UserError, with the command that brings it, where the weight is not there or not the right one."""
        weight = weight_named(name)
        if name in self._own:
            folder = self._own[name]
            if not folder.is_dir():
                raise UserError(f"weights.own.{name}: there is no folder {folder}")
            return Found(folder=folder, version=f"own {folder.name}")
        state, why = state_of(weight)
        if state != "present":
            raise UserError(f"the weight {name} is {state}{f' ({why})' if why else ''}: humo fetch {name}")
        return Found(folder=cache_folder() / name, version=version_of(weight))

    def own(self, name: str) -> Path | None:
        """The user's folder of a weight, where one is named."""
        return self._own.get(name)


def version_of(weight: Weight) -> str:
    """Eight hex digits over the checksums."""
    return f"{weight.name} {hashlib.sha256(weight.digest.encode()).hexdigest()[:8]}"


def state_of(weight: Weight) -> tuple[State, str]:
    """Whether a weight lies whole in the cache, and what is wrong otherwise.

    A file is read whole once; later its size and time of change tell whether it is still the same.
    """
    folder = cache_folder() / weight.name
    if not folder.is_dir():
        return "missing", ""
    record = _record(folder)
    for file in weight.files:
        for path, sha256 in expected(file):
            target = folder / path
            if not target.is_file():
                return "incomplete", f"{path} is not there"
            wanted = sha256 or record.get(path, {}).get("published")
            if wanted is None:
                return "wrong", f"{path} was not put there by 'humo fetch'"
            if checked(folder, path) != wanted:
                return "wrong", f"{path} has another checksum"
    return "present", ""


def expected(file: WeightFile) -> list[tuple[str, str | None]]:
    """The files that a download leaves in the folder, with their SHA-256: itself, or what is unpacked of it."""
    if not file.unpack:
        return [(file.path, file.sha256)]
    return [(f"{Path(file.path).parent.as_posix()}/{member}", sha256) for member, sha256 in file.unpack]


def checked(folder: Path, path: str) -> str:
    """SHA-256 of a file of a weight; read again only where its size or time changed since it was last read."""
    return checked_at(folder / path, record_in=folder, name=path)


def checked_at(target: Path, *, record_in: Path, name: str) -> str:
    """SHA-256 of a file, remembered under this name in a folder's record."""
    stat = target.stat()
    known = _record(record_in).get(name, {})
    seen = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if known.get("sha256") and all(known.get(mark) == value for mark, value in seen.items()):
        return str(known["sha256"])
    sha256 = digest_of(target)
    _note(record_in, name, {**known, **seen, "sha256": sha256})
    return sha256


def note_published(folder: Path, path: str, sha256: str) -> None:
    """Keep the checksum that the publisher gave for a file."""
    _note(folder, path, {**_record(folder).get(path, {}), "published": sha256})


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _record(folder: Path) -> dict[str, dict[str, str | int]]:
    try:
        found: dict[str, dict[str, str | int]] = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return found


def _note(folder: Path, path: str, known: dict[str, str | int]) -> None:
    """A cache that cannot be written to is read again each time."""
    record = {**_record(folder), path: known}
    whole = folder / f"{RECORD}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        whole.write_text(json.dumps(record, indent=1, sort_keys=True))
        whole.replace(folder / RECORD)
    except OSError:
        with suppress(OSError):
            whole.unlink(missing_ok=True)
