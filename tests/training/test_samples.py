import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.sample_shards import pack
from training.dataset import IndexRow, open_shard_set
from training.reading import ReadFailed
from training.samples import DamagedSample, parse_members, read_members

FILES = {"mp4": b"v" * 700, "txt": b"t", "json": b"{}", "faces.json": b"{}", "ref0.png": b"p"}
ROW = IndexRow("key", "s.tar", 0, 0, "train", "subject", 1, 5, 32, 32, ("ann",))


def packed(files: dict[str, bytes], key: str = "key") -> bytes:
    content, [(start, size)] = pack([(key, files)])
    return content[start : start + size]


def test_reads_exactly_the_members_of_each_sample(shards: Path) -> None:
    opened = open_shard_set(str(shards))
    for row in opened.rows:
        members = read_members(opened.address(row.shard), row)
        with tarfile.open(opened.address(row.shard)) as archive:
            whole = {
                info.name: archive.extractfile(info).read() for info in archive if info.name.startswith(f"{row.key}.")
            }
        assert {f"{row.key}.{extension}": data for extension, data in members.items()} == whole


def test_reads_from_another_file_system(shards: Path) -> None:
    opened = open_shard_set(f"file://{shards.parent}")
    assert "mp4" in read_members(opened.address(opened.rows[0].shard), opened.rows[0])


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({**FILES, "flac": b""}, "not one that this sample has"),
        ({**FILES, "pickle": b"x"}, "not one that this sample has"),
        ({**FILES, "ref1.png": b"x"}, "not one that this sample has"),
        ({**FILES, "../x": b"x"}, "not one that this sample has"),
        ({name: data for name, data in FILES.items() if name != "faces.json"}, "lacks the members faces.json"),
    ],
)
def test_refuses_other_members(files: dict[str, bytes], complaint: str) -> None:
    with pytest.raises(DamagedSample, match=complaint):
        parse_members(packed(files), ROW)


def test_refuses_another_samples_bytes() -> None:
    with pytest.raises(DamagedSample, match="belongs to another sample"):
        parse_members(packed(FILES, key="other"), ROW)


def test_refuses_links_and_repeats() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("key.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DamagedSample, match="not one that this sample has"):
        parse_members(buffer.getvalue(), ROW)
    with pytest.raises(DamagedSample, match="twice"):
        parse_members(packed(FILES) + packed(FILES), ROW)


def test_refuses_a_shard_that_ends_early_or_is_gone(shards: Path, tmp_path: Path) -> None:
    opened = open_shard_set(str(shards))
    row = opened.rows[0]
    short = tmp_path / "short.tar"
    short.write_bytes(Path(opened.address(row.shard)).read_bytes()[: row.offset + row.bytes - 10])
    with pytest.raises(DamagedSample, match="ends 10 bytes too early"):
        read_members(str(short), row)
    with pytest.raises(ReadFailed, match="cannot be read"):
        read_members(str(tmp_path / "absent.tar"), row)
    with pytest.raises(DamagedSample):
        read_members(opened.address(row.shard), replace(row, offset=row.offset + 512, bytes=row.bytes - 512))


@given(st.integers(0, 3000), st.integers(0, 255))
def test_any_damage_is_a_damaged_sample_or_harmless(place: int, value: int) -> None:
    content = bytearray(packed(FILES))
    content[place % len(content)] = value
    try:
        members = parse_members(bytes(content), ROW)
    except DamagedSample:
        return
    assert set(members) == set(FILES)


@given(st.integers(0, 10_000))
def test_any_truncation_is_a_damaged_sample(length: int) -> None:
    content = packed(FILES)
    # The last member is one byte and its padding: without it nothing is missing from the data.
    length %= len(content) - 511
    with pytest.raises(DamagedSample):
        parse_members(content[:length], ROW)
