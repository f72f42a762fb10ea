import io
import json
import zlib

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.training.sample_shards import Sample, encode_png, encode_video, members
from training.dataset import IndexRow
from training.decode import decode_audio, decode_clip, decode_faces, decode_image, decode_video
from training.plan import Bucket
from training.samples import DamagedSample

ROW = IndexRow("key", "s.tar", 0, 0, "train", "sync", 1, 9, 96, 128, ("ann",))
BUCKET = Bucket(32, 32, 5, 1)


def sample() -> dict[str, bytes]:
    return members(Sample(key="key", frames=9), seed=1)


def flac(waveform: np.ndarray, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def test_a_clip_is_scaled_to_cover_its_bucket() -> None:
    clip = decode_clip(sample(), ROW, BUCKET)
    assert clip.video_fhwc.shape == (9, 32, 43, 3)
    assert clip.waveform is not None
    assert clip.waveform.shape == (9 * 640,)
    assert clip.references[0].shape == (64, 53, 3)
    assert len(clip.faces) == 9
    assert clip.nbytes == 9 * 32 * 43 * 3 + 9 * 640 * 4 + 64 * 53 * 3
    tall = decode_clip(sample(), ROW, Bucket(64, 32, 5, 1))
    assert tall.video_fhwc.shape == (9, 64, 85, 3)


def test_frames_keep_their_order_and_colour() -> None:
    pictures = [np.full((64, 64, 3), (20 * number, 250 - 20 * number, 90), np.uint8) for number in range(9)]
    video = decode_video(encode_video(pictures), frames=9, height=32, width=32)
    error = np.abs(video.astype(int) - np.stack(pictures)[:, ::2, ::2].astype(int))
    assert error.max() <= 6


@pytest.mark.parametrize("frames", [8, 10])
def test_another_number_of_frames_is_damage(frames: int) -> None:
    with pytest.raises(DamagedSample, match="frames"):
        decode_video(sample()["mp4"], frames=frames, height=32, width=32)
    with pytest.raises(DamagedSample, match="flac"):
        decode_audio(sample()["flac"], frames=frames)
    with pytest.raises(DamagedSample, match="9 frames, the index says"):
        decode_faces(sample()["faces.json"], frames=frames, identities=["ann"])


def test_audio_keeps_its_samples() -> None:
    waveform = np.linspace(-0.9, 0.9, 640 * 2).astype(np.float32)
    assert np.abs(decode_audio(flac(waveform), frames=2) - waveform).max() < 1 / 32000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"fLaC" + b"\0" * 40,
        flac(np.zeros((1280, 2), np.float32)),
        flac(np.zeros(1280, np.float32), rate=8000),
        flac(np.zeros(1279, np.float32)),
    ],
)
def test_other_audio_is_damage(content: bytes) -> None:
    with pytest.raises(DamagedSample, match="the flac"):
        decode_audio(content, frames=2)


def test_images() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (7, 5, 3)).astype(np.uint8)
    assert np.array_equal(decode_image(encode_png(picture), height=7, width=9), picture)
    assert decode_image(encode_png(picture), height=70, width=3).shape == (4, 3, 3)
    for content in (b"", encode_png(picture)[:-30], encode_png(picture).replace(b"IDAT", b"IDOT")):
        with pytest.raises(DamagedSample, match="reference image"):
            decode_image(content, height=7, width=5)


def test_a_huge_image_is_not_even_read() -> None:
    small = encode_png(np.zeros((2, 2, 3), np.uint8))
    header = bytearray(small)
    header[16:24] = (20_000).to_bytes(4) * 2
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4)
    with pytest.raises(DamagedSample, match=r"too large|pixels"):
        decode_image(bytes(header), height=7, width=5)


def face(**changes: object) -> dict[str, object]:
    return {"box": [0, 0, 1, 1], "track": 0, "identity": None, "speaker": True, "interpolated": False, **changes}


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        json.dumps({"frames": []}),
        json.dumps({"frames": [[face(box=[0, 0, 1])]]}),
        json.dumps({"frames": [[face(box=[0, 0, 1, float("nan")])]]}),
        json.dumps({"frames": [[face(extra=1)]]}),
        json.dumps({"frames": [[face(track="x")]]}),
    ],
)
def test_a_wrong_face_file_is_damage(content: str) -> None:
    with pytest.raises(DamagedSample, match=r"faces\.json"):
        decode_faces(content.encode(), frames=1, identities=["ann"])


def test_a_face_without_identity_is_fine() -> None:
    [[found]] = decode_faces(json.dumps({"frames": [[face()]]}).encode(), frames=1, identities=["ann"])
    assert found.identity is None
    assert found.box == (0, 0, 1, 1)


VIDEO = sample()["mp4"]


def is_damage_or_decodes_whole(content: bytes) -> None:
    try:
        video = decode_video(content, frames=9, height=32, width=32)
    except DamagedSample:
        return
    assert video.shape == (9, 32, 43, 3)


@given(st.integers(0, len(VIDEO) - 1), st.binary(min_size=1, max_size=40))
def test_a_damaged_video_is_damage_or_decodes_whole(place: int, noise: bytes) -> None:
    is_damage_or_decodes_whole(VIDEO[:place] + noise + VIDEO[place + len(noise) :])


@given(st.integers(0, len(VIDEO) - 1))
def test_a_cut_video_is_damage_or_decodes_whole(length: int) -> None:
    is_damage_or_decodes_whole(VIDEO[:length])
