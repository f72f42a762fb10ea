"""One sample's members out of a shard, by a range read, with nothing in them that a sample may not have."""

import io
import tarfile
from collections.abc import Sequence

from schemas.sample import VOCALS, member_suffixes
from training.dataset import IndexRow
from training.reading import EndsEarly, read_range

PASSED_OVER = VOCALS.removeprefix(".")
"""A member that some shards have, and that nothing here reads."""


class DamagedSample(Exception):
    """A sample that cannot be used, with the reason. Its place in the batch counts for nothing."""


def read_members(address: str, row: IndexRow, wanted: Sequence[str] | None = None) -> dict[str, bytes]:
    """The members of one sample by extension ("mp4", "ref0.png", ...), from the tar at `address`.

    `wanted`: the extensions it must have; those that `humo pack` writes when None.

    Raises:
        DamagedSample: the file ends before them, they are no tar, or hold another sample's or an unknown member.
        ReadFailed: they could not be read, which says nothing about the sample.
    """
    try:
        content = read_range(address, row.offset, row.bytes)
    except EndsEarly as error:
        raise DamagedSample(str(error)) from error
    return parse_members(content, row, wanted)


def parse_members(content: bytes, row: IndexRow, extensions: Sequence[str] | None = None) -> dict[str, bytes]:
    """Split the bytes of a sample, a run of tar members, by extension. Raises DamagedSample."""
    packed = [suffix.removeprefix(".") for suffix in member_suffixes(row.tier, row.references)]
    wanted = set(packed if extensions is None else extensions)
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                extension = _extension(member, row.key, wanted | {PASSED_OVER})
                if extension == PASSED_OVER:
                    continue
                if extension in members:
                    raise DamagedSample(f"the member {member.name} is there twice")
                file = archive.extractfile(member)
                data = file.read() if file else b""
                if len(data) != member.size:
                    raise DamagedSample(f"the member {member.name} is cut off")
                members[extension] = data
    except (tarfile.TarError, UnicodeError, ValueError, OSError) as error:
        raise DamagedSample(f"not a readable tar at byte {row.offset}: {error}") from error
    if missing := sorted(wanted - set(members)):
        raise DamagedSample(f"lacks the members {', '.join(missing)}")
    return members


def _extension(member: tarfile.TarInfo, key: str, wanted: set[str]) -> str:
    key_found, _, extension = member.name.partition(".")
    if key_found != key:
        raise DamagedSample(f"the member {member.name!r} belongs to another sample: the index does not fit the shard")
    if not member.isreg() or member.issparse() or extension not in wanted:
        raise DamagedSample(f"the member {member.name!r} is not one that this sample has")
    return extension
