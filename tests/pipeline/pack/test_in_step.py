"""Picture and sound of a packed sample stand where the source has them: what is seen and heard together stays so."""

import math
import tarfile
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pipeline.backends.pyav_decode import decode_clip
from pipeline.config import CurateConfig
from pipeline.pack.config import PackConfig, SyncCorrection
from pipeline.stage import Measured, Row, Source
from pipeline.stages.clips import ClipsConfig, cut_clips
from pipeline.verify import load_manifest, verify
from tests.pipeline.made_videos import onsets_s
from tests.pipeline.pack.test_pack import packed
from tests.pipeline.synthetic_run import FakeClip

STARTS = (3_517_123, 20_011_777, 41_239_001)
"""Microseconds at which clips begin: on no frame of the source, and no sample of its sound."""


def cut(path: Path, folder: Path) -> list[Measured]:
    """Clips of 97 frames from the times in `STARTS` on."""
    source = f"{1:016x}"
    shots: list[Row] = [
        {"id": f"{source}_{start}", "start_us": start, "end_us": start + 4_000_000, "boundary": "cut"}
        for start in STARTS
    ]
    config = ClipsConfig(frames=97, min_frames=97, margin_s=0.0)
    return list(cut_clips(Source(id=source, path=path), shots, config, folder))


def lit(picture_hwc: NDArray[np.uint8]) -> bool:
    """Whether the red disc is there."""
    return bool(picture_hwc[20:50, 150:180, 0].mean() > 200)


def flashes(path: Path) -> list[float]:
    """From when on the picture nearest in time is the first to show the disc, in seconds, for each time it comes."""
    with av.open(str(path)) as container:
        shown = [(frame.time, lit(frame.to_ndarray(format="rgb24"))) for frame in container.decode(video=0)]
    return [(at + before) / 2 for (before, was), (at, now) in pairwise(shown) if now and not was]


def beeps(path: Path) -> list[float]:
    """When each beep begins, in seconds, as the stamps of the packets say."""
    with av.open(str(path)) as container:
        pieces = [(frame.time, frame.to_ndarray().mean(axis=0)) for frame in container.decode(audio=0)]
    rate = 48_000
    sound = np.zeros(round(pieces[-1][0] * rate) + 2048, np.int16)
    for at, piece in pieces:
        first = round(at * rate)
        sound[first : first + len(piece)] = piece * 32_767
    return onsets_s(sound, rate=rate, quiet_s=0.3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_beeps_and_flashes_of_packed_samples_keep_their_time(footage: Path, tmp_path: Path, suffix: str) -> None:
    """A red disc appears every second, and a beep follows. Clips begin at arbitrary times, at 25 fps instead of 30."""
    path = footage / "video" / f"Megatron-Energon_sync_test.{suffix}"
    clips = [FakeClip(source=1, start_s=0, made=made) for made in cut(path, tmp_path)]
    _, manifest = packed(
        tmp_path / "run", clips, CurateConfig(pack=PackConfig(correction=SyncCorrection(enabled=True)))
    )
    assert list(verify(*load_manifest(str(tmp_path / "run")))) == []

    (shard,) = manifest.shards
    with tarfile.open(tmp_path / "run" / "shards" / shard.url) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    keys = sorted(
        (name.removesuffix(".mp4") for name in members if name.endswith(".mp4")), key=lambda key: int(key.split("_")[1])
    )
    assert [int(key.split("_")[1]) for key in keys] == list(STARTS)
    seen, heard = flashes(path), beeps(path)
    for key, start_us in zip(keys, STARTS, strict=True):
        start = start_us / 1e6
        samples, rate = soundfile.read(BytesIO(members[f"{key}.flac"]), dtype="int16")
        frames = [lit(frame) for _, frame in decode_clip(members[f"{key}.mp4"])]
        assert (rate, len(samples), len(frames)) == (16_000, 97 * 640, 97)

        lit_at = [number for number, (was, now) in enumerate(pairwise(frames), start=1) if now and not was]
        for found, expected, off in (
            (onsets_s(samples, quiet_s=0.3), [at - start for at in heard], 0.001),
            # A frame of the clip shows the source's picture that is nearest to its time.
            ([number / 25 for number in lit_at], [math.ceil((at - start) / 0.04) / 25 for at in seen], 1e-6),
        ):
            within = [at for at in expected if 0.1 < at < 3.7]
            assert len(within) >= 3
            assert [at for at in found if 0.1 < at < 3.7] == pytest.approx(within, abs=off)
