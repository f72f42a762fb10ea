"""A weight: what a backend loads, where it comes from, what may be done with it, and how it is told from a wrong one.

A module that needs weights declares them as a module-level tuple `WEIGHTS`, and is named in `table.DECLARED_IN`.
"""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file of a weight. `path`: where it lies in the weight's folder; `url`: where it is fetched from.

    `sha256`: of the file, in lower case. None only where the address names a commit of a hub that gives the SHA-256
    itself: then that is checked, and kept beside the file from then on.
    `size`: bytes, for what is said to the user; None where it is not known.
    `unpack`: members of a zip to take out, name in the archive -> SHA-256 of the member.
    """

    path: str
    url: str
    sha256: str | None
    size: int | None = None
    unpack: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Weight:
    """What `humo fetch NAME` brings. Its files lie in the cache's folder NAME, as their publisher lays them out."""

    name: str
    """As the command and the configuration name it: lower-case letters, digits, `.` and `-`."""
    source: str
    """The publisher's page."""
    licence: str
    files: tuple[WeightFile, ...]
    licence_note: str = ""
    """What a user must know before using it, such as that commercial use is not allowed."""

    @property
    def digest(self) -> str:
        """What tells this weight from another version of it: the checksums, or the commit in the addresses."""
        return " ".join(file.sha256 or file.url for file in self.files)


def hub_files(repository: str, commit: str, *paths: str) -> tuple[WeightFile, ...]:
    """Files of a Hugging Face repository at a commit. Their checksums are the hub's, for that commit."""
    return tuple(
        WeightFile(
            path=path,
            url=f"https://huggingface.co/{repository}/resolve/{commit}/{quote(path)}",
            sha256=None,
        )
        for path in paths
    )


def shards(count: int) -> tuple[str, ...]:
    """Names of the safetensors shards of a model that lies in so many."""
    return tuple(f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1))
