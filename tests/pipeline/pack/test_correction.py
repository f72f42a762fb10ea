"""Sound that comes late or early is moved in step when told so, and only where the offset is to be believed."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import CurateConfig
from pipeline.pack.config import PackConfig, SyncCorrection
from pipeline.pack.correction import frames_to_correct, moved
from tests.pipeline.pack.test_pack import packed
from tests.pipeline.synthetic_run import FakeClip

ON = SyncCorrection(enabled=True)
BELIEVED: dict[str, Any] = {"offset_frames": 2, "p_value": 0.001, "drift_frames": 0}


def flac(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def read(data: bytes) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate == 16_000
    return samples


@given(frames=st.integers(-12, 12), at=st.integers(0, 10 * 640 - 1))
def test_a_click_moves_by_whole_frames_and_the_length_stays(frames: int, at: int) -> None:
    samples = np.zeros(10 * 640, np.int16)
    samples[at] = 20_000
    result = read(moved(flac(samples), frames))
    assert len(result) == len(samples)
    expected = at - frames * 640
    assert np.flatnonzero(result).tolist() == ([expected] if 0 <= expected < len(samples) else [])


@pytest.mark.parametrize(
    ("sync", "frames"),
    [
        (BELIEVED, 2),
        (BELIEVED | {"offset_frames": -3}, -3),
        (BELIEVED | {"offset_frames": 4}, 0),
        (BELIEVED | {"p_value": 0.006}, 0),
        (BELIEVED | {"drift_frames": -2}, 0),
        (BELIEVED | {"drift_frames": None}, 0),
        (BELIEVED | {"p_value": None}, 0),
        (BELIEVED | {"offset_frames": None}, 0),
    ],
)
def test_only_a_believed_offset_is_put_right(sync: dict[str, Any], frames: int) -> None:
    assert frames_to_correct(sync, ON) == frames
    assert frames_to_correct(sync, SyncCorrection()) == 0


def test_the_record_keeps_the_offset_and_says_what_was_moved(tmp_path: Path) -> None:
    config = CurateConfig(pack=PackConfig(correction=ON))
    clips = [FakeClip(source=1, start_s=0, sync=BELIEVED), FakeClip(source=1, start_s=1, sync={"drift_frames": 0})]
    _, manifest = packed(tmp_path, clips, config)
    records = []
    for shard in manifest.shards:
        with tarfile.open(tmp_path / "shards" / shard.url) as tar:
            for member in tar.getmembers():
                if member.name.count(".") == 1 and member.name.endswith(".json"):
                    file = tar.extractfile(member)
                    assert file is not None
                    records.append(json.load(file))
    said = {(record["sync_offset_before_correction"], record["sync_corrected_by"]) for record in records}
    assert said == {(2, 2), (0, 0)}
