"""The files that generation reads and writes."""

from pathlib import Path

import av
import numpy
import pytest
import soundfile
from PIL import Image

from humo.inputs import read_audio, read_image
from humo.video import AUDIO_RATE, GENERATED_MARK, write_video
from schemas.errors import UserError


def tone(seconds: float, rate: int) -> numpy.ndarray:
    return (0.4 * numpy.sin(2 * numpy.pi * 440 * numpy.arange(int(seconds * rate)) / rate)).astype(numpy.float32)


def moving_square(frames: int, height: int = 48, width: int = 64) -> numpy.ndarray:
    video = numpy.full((frames, height, width, 3), 30, numpy.uint8)
    for index in range(frames):
        video[index, 8:24, 2 * index : 2 * index + 16] = (230, 120, 40)
    return video


def decoded(path: Path) -> tuple[numpy.ndarray, list[float]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return numpy.stack([f.to_ndarray(format="rgb24") for f in frames]), [float(f.time) for f in frames]


@pytest.mark.parametrize("frames", [1, 17])
def test_a_video_is_written_as_it_is_at_25_frames_a_second(frames: int, tmp_path: Path) -> None:
    video = moving_square(frames)
    write_video(tmp_path / "v.mp4", video, None)
    pixels, times = decoded(tmp_path / "v.mp4")
    assert pixels.shape == video.shape
    assert times == pytest.approx([index / 25 for index in range(frames)])
    assert numpy.abs(pixels.astype(float) - video).mean() < 6
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert container.metadata["comment"] == GENERATED_MARK
        assert not container.streams.audio
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 25)
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]


@pytest.mark.parametrize("seconds", [0.2, 0.68, 3.0])
def test_speech_is_cut_or_padded_to_the_video(seconds: float, tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", moving_square(17), tone(seconds, AUDIO_RATE))
    heard = read_audio(tmp_path / "v.mp4", AUDIO_RATE)
    assert len(heard) == pytest.approx(0.68 * AUDIO_RATE, abs=2 * 1024)
    loud = numpy.abs(heard) > 0.1
    end = numpy.flatnonzero(loud)[-1] / AUDIO_RATE
    assert end == pytest.approx(min(seconds, 0.68), abs=0.03)
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


def test_sound_and_picture_begin_together(tmp_path: Path) -> None:
    speech = numpy.concatenate([numpy.zeros(AUDIO_RATE // 5, numpy.float32), tone(0.4, AUDIO_RATE)])
    write_video(tmp_path / "v.mp4", moving_square(17), speech)
    heard = read_audio(tmp_path / "v.mp4", AUDIO_RATE)
    assert numpy.flatnonzero(numpy.abs(heard) > 0.1)[0] / AUDIO_RATE == pytest.approx(0.2, abs=0.03)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011
        write_video(tmp_path / "v.mp4", moving_square(3)[:, :, :, :2], None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rate", "channels", "suffix"),
    [(16000, 1, "wav"), (44100, 2, "flac"), (8000, 1, "wav"), (44100, 1, "mp3"), (48000, 2, "ogg")],
)
def test_audio_comes_as_16_khz_mono(rate: int, channels: int, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, numpy.stack([tone(1.5, rate)] * channels, axis=1), rate)
    waveform = read_audio(path)
    assert waveform.dtype == numpy.float32
    # MP3 pads to whole frames.
    assert len(waveform) == pytest.approx(24000, abs=900 if suffix == "mp3" else 50)
    spectrum = numpy.abs(numpy.fft.rfft(waveform))
    assert spectrum.argmax() * 16000 / len(waveform) == pytest.approx(440, abs=2)
    assert numpy.abs(waveform[2000:-2000]).max() == pytest.approx(0.4, abs=0.03)


def test_the_sound_track_of_a_video_is_read(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", moving_square(5), tone(0.2, AUDIO_RATE))
    assert len(read_audio(tmp_path / "v.mp4")) == pytest.approx(3200, abs=400)


def test_unreadable_audio_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_audio(tmp_path / "none.wav")
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(UserError, match="no readable audio"):
        read_audio(tmp_path / "text.wav")
    write_video(tmp_path / "mute.mp4", moving_square(1), None)
    with pytest.raises(UserError, match="no sound track"):
        read_audio(tmp_path / "mute.mp4")
    soundfile.write(tmp_path / "empty.wav", numpy.zeros(0), 16000)
    with pytest.raises(UserError, match="no sound"):
        read_audio(tmp_path / "empty.wav")


def test_a_file_that_names_another_is_not_followed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1, 16000), 16000)
    (tmp_path / "list.wav").write_text("ffconcat version 1.0\nfile a.wav\n")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\na.wav\n#EXT-X-ENDLIST\n")
    for name in ("list.wav", "list.m3u8"):
        with pytest.raises(UserError, match="no readable audio"):
            read_audio(tmp_path / name)


def test_images_come_upright_and_opaque(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 20), (200, 10, 10))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (30, 20, 3)
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png") == 255).all()
    Image.new("L", (4, 4), 7).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png") == 7).all()


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match="no readable image"):
        read_image(tmp_path / "text.png")
    noise = numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), numpy.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:5000])
    with pytest.raises(UserError, match="no readable image"):
        read_image(tmp_path / "cut.png")
