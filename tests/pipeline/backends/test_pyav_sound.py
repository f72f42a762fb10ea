"""Sound on the presentation clock: every layout, and 200 tracks that are damaged."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backends.loudness import measure_loudness, measure_snr
from pipeline.backends.pyav_decode import open_footage
from pipeline.backends.pyav_sound import SAMPLE_RATE, SoundReader, sound_stream
from pipeline.backends.silero_voice import SileroVoice
from pipeline.backends.sound_content import measure_content
from pipeline.stage import Unmeasurable
from tests.pipeline.made_videos import clicks, onsets_s

SECONDS = 4.0
CLICKS = (0.5, 1.25, 2.0, 3.5)

Heard = tuple[NDArray[np.int16], SoundReader]


def write_sound(
    path: Path,
    samples: NDArray[np.floating],
    *,
    rate: int = 48_000,
    layout: str = "mono",
    codec: str = "pcm_s16le",
    at_s: float = 0.0,
) -> Path:
    """A file with one audio track and nothing else; `samples` are given to every channel."""
    channels = av.AudioLayout(layout).nb_channels
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        for start in range(0, len(samples), 1024):
            block = np.repeat(samples[start : start + 1024].astype(np.float32), channels)[None]
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
            frame.sample_rate, frame.pts = rate, round(at_s * rate) + start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(path: Path, *, start_s: float = 0.0, seconds: float = SECONDS) -> Heard:
    with open_footage(path) as container:
        stream = sound_stream(container)
        if stream is None:
            raise Unmeasurable("holds no audio stream")
        reader = SoundReader(container, stream)
        if not reader.has_sound:
            raise Unmeasurable(reader.losses.cause() or "the track holds no sound")
        return reader.read(round(start_s * SAMPLE_RATE), round(seconds * SAMPLE_RATE)), reader


def beeps(*, rate: int = 48_000, seconds: float = SECONDS) -> NDArray[np.float64]:
    return clicks(seconds, [at for at in CLICKS if at < seconds], rate=rate) / 32768


@pytest.mark.parametrize(
    ("rate", "layout", "codec", "suffix"),
    [
        (44_100, "stereo", "aac", ".mp4"),
        (44_100, "stereo", "flac", ".mkv"),
        (48_000, "5.1", "aac", ".mp4"),
        (48_000, "5.1", "pcm_s16le", ".mkv"),
        (8_000, "mono", "pcm_s16le", ".mkv"),
        (8_000, "mono", "aac", ".mp4"),
        (48_000, "7.1", "pcm_s16le", ".mkv"),
        (96_000, "stereo", "pcm_s16le", ".mov"),
        (48_000, "mono", "libopus", ".mkv"),
    ],
)
def test_every_layout_and_rate_keeps_its_times(tmp_path: Path, rate: int, layout: str, codec: str, suffix: str) -> None:
    path = write_sound(tmp_path / f"a{suffix}", beeps(rate=rate), rate=rate, layout=layout, codec=codec)
    samples, reader = read(path)
    assert samples.shape == (64_000,)
    assert onsets_s(samples) == pytest.approx(CLICKS, abs=0.001)
    assert reader.losses.cause() is None
    # The same in all channels is as loud when they are mixed: nothing is lost, nothing clips.
    assert 0.5 * 32768 < np.abs(samples.astype(int)).max() < 0.75 * 32768
    inner, _ = read(path, start_s=1.1, seconds=1.0)
    assert onsets_s(inner) == pytest.approx([0.15, 0.9], abs=0.001)


def test_a_proper_filter_lets_nothing_fold_back(tmp_path: Path) -> None:
    """12 kHz cannot be carried at 16 kHz: without a filter it would be heard at 4 kHz."""
    times = np.arange(48_000 * 2) / 48_000
    path = write_sound(tmp_path / "a.mkv", 0.5 * np.sin(2 * np.pi * 12_000 * times))
    folded, _ = read(path, start_s=0.5, seconds=1.0)
    path = write_sound(tmp_path / "b.mkv", 0.5 * np.sin(2 * np.pi * 4_000 * times))
    kept, _ = read(path, start_s=0.5, seconds=1.0)
    # Below one step of 16 bits, that is 84 dB down.
    assert np.abs(folded).max() <= 1
    assert np.abs(kept).max() == pytest.approx(0.5 * 32768, rel=0.02)


def test_what_the_track_does_not_have_is_silence_and_counted(tmp_path: Path) -> None:
    """A track from 0.75 s to 2.75 s of four."""
    picture = tmp_path / "a.mkv"
    with av.open(str(picture), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for number in range(100):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode())
        tone = (3000 * np.sin(np.arange(32_000) / 5)).astype(np.int16)
        sound = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts = 16_000, 12_000
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    samples, reader = read(picture)
    heard = np.flatnonzero(samples)
    assert (heard[0] / 16_000, heard[-1] / 16_000) == pytest.approx((0.75, 2.75), abs=0.001)
    assert reader.absent(0, 64_000) / 16_000 == pytest.approx(2.0, abs=0.001)
    late, again = read(picture, start_s=1.0, seconds=1.0)
    assert np.count_nonzero(late) > 15_000
    assert again.absent(16_000, 16_000) == 0


def test_no_numbers_become_silence_with_a_cause(tmp_path: Path) -> None:
    samples = beeps()
    samples[20_000:20_100] = np.nan
    samples[30_000] = np.inf
    heard, reader = read(write_sound(tmp_path / "a.mkv", samples, codec="pcm_f32le"))
    assert onsets_s(heard) == pytest.approx(CLICKS, abs=0.001)
    assert reader.losses.cause() == "101 samples of sound are no numbers"


Damage = Callable[[bytearray, np.random.Generator], bytearray]


def _truncated(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(0, len(data)))]


def _flipped(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(0, len(data), int(rng.integers(1, 200))):
        data[at] ^= int(rng.integers(1, 256))
    return data


def _overwritten(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(0, len(data)))
    length = int(rng.integers(1, max(2, len(data) // 3)))
    data[start : start + length] = rng.integers(0, 256, min(length, len(data) - start), dtype=np.uint8).tobytes()
    return data


def _removed(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(0, len(data)))
    del data[start : start + int(rng.integers(1, 5000))]
    return data


def _head_flipped(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Headers: rates, channel counts, codecs, durations."""
    for at in rng.integers(0, min(700, len(data)), int(rng.integers(1, 12))):
        data[at] = int(rng.integers(0, 256))
    return data


DAMAGES: tuple[Damage, ...] = (_truncated, _flipped, _overwritten, _removed, _head_flipped)
TRACKS = (
    ("aac", ".mp4", "stereo", 44_100),
    ("pcm_s16le", ".mkv", "5.1", 48_000),
    ("flac", ".mkv", "mono", 8_000),
    ("libopus", ".mkv", "stereo", 48_000),
    ("pcm_f32le", ".mkv", "mono", 16_000),
    ("aac", ".mkv", "mono", 16_000),
    ("mp2", ".ts", "stereo", 44_100),
    ("pcm_s16le", ".mov", "mono", 44_100),
)


@pytest.mark.parametrize("track", TRACKS, ids=lambda track: f"{track[0]}{track[1]}")
def test_damaged_tracks_end_in_numbers_or_a_reason(tmp_path: Path, track: tuple[str, str, str, int]) -> None:
    """25 damages of each of 8 tracks: what is heard is measured, and whatever is missing is counted or said."""
    codec, suffix, layout, rate = track
    whole = write_sound(
        tmp_path / f"whole{suffix}", beeps(rate=rate, seconds=2.0), rate=rate, layout=layout, codec=codec
    ).read_bytes()
    voice = SileroVoice()
    rng = np.random.default_rng(TRACKS.index(track))
    reasons: list[str] = []
    for number in range(25):
        path = tmp_path / f"{number}{suffix}"
        damaged = DAMAGES[number % 5](bytearray(whole), rng)
        path.write_bytes(damaged)
        try:
            samples, reader = read(path, seconds=2.0)
        except Unmeasurable as error:
            reasons.append(str(error))
            continue
        assert samples.shape == (32_000,)
        assert 0 <= reader.absent(0, 32_000) <= 32_000
        if not samples.any():
            assert reader.absent(0, 32_000) or reader.losses.cause() or number % 5
        wave = samples.astype(np.float32) / 32768
        measure = voice.measure(wave)
        loudness, snr = measure_loudness(wave), measure_snr(wave, measure.spans)
        content = measure_content(wave, measure.spans)
        assert 0 <= measure.ratio <= 1
        assert (loudness.lufs is None) == (loudness.cause is not None)
        assert (snr.snr_db is None) == (snr.cause is not None)
        assert (None in (content.bandwidth_hz, content.other_flatness)) == (content.cause is not None)
    assert len(reasons) < 25
    assert all(reasons)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _no_packets(path: Path) -> None:
    write_sound(path, np.zeros(0))


def _too_many_channels(path: Path) -> None:
    write_sound(path, beeps(rate=8_000), rate=8_000)
    data = bytearray(path.read_bytes())
    # Matroska's Channels element (0x9F), one byte of content.
    at = data.index(b"\x9f\x81\x01")
    data[at + 2] = 255
    path.write_bytes(data)


def _absurd_rate(path: Path) -> None:
    write_sound(path, beeps(rate=8_000), rate=8_000)
    data = bytearray(path.read_bytes())
    # Matroska's SamplingFrequency (0xB5), a double. Looked for whole: the file begins with random numbers.
    said, absurd = (b"\xb5\x88" + np.array([rate], ">f8").tobytes() for rate in (8_000, 1e9))
    assert data.count(said) == 1
    data = data.replace(said, absurd)
    path.write_bytes(data)


@pytest.mark.parametrize("spoil", [_empty, _no_packets, _too_many_channels, _absurd_rate])
def test_a_track_that_is_none_has_a_reason(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "a.mkv"
    spoil(path)
    with pytest.raises(Unmeasurable, match=r"."):
        read(path)
