"""Bytes of a sample to pixels, sound and boxes, each checked against what the index promises."""

import io
from collections.abc import Collection
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
import soundfile
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.sample import SAMPLE_RATE, SAMPLES_PER_FRAME
from training.dataset import IndexRow
from training.plan import Bucket
from training.samples import DamagedSample

_LARGEST_IMAGE = 64_000_000

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


class FaceBox(BaseModel):
    """A face in one frame."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in fractions of the stored frame."""
    track: int
    identity: str | None
    speaker: bool
    """True for the face whose speech the audio is."""
    interpolated: bool
    """True where no detector saw it, between frames where one did."""


class _FaceFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    frames: list[list[FaceBox]] = Field(min_length=1)


@dataclass(frozen=True)
class Clip:
    """A decoded sample, scaled down to what its bucket needs but not yet cut to a window."""

    video_fhwc: UInt8
    """RGB, covering the bucket's size: one side equal, the other at least that."""
    waveform: Float32 | None
    """16 kHz mono in [-1, 1], 640 samples a frame; None in the subject tier."""
    caption: str
    references: tuple[UInt8, ...]
    """RGB pictures, (height, width, 3), as stored, or scaled down to twice the bucket's size where they are larger.
    There may be none."""
    faces: tuple[tuple[FaceBox, ...], ...]
    """Per frame."""

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take."""
        sound = 0 if self.waveform is None else self.waveform.nbytes
        return self.video_fhwc.nbytes + sound + sum(image.nbytes for image in self.references)


def decode_clip(members: dict[str, bytes], row: IndexRow, bucket: Bucket) -> Clip:
    """Decode all members of a sample. Raises DamagedSample with the first thing that is wrong."""
    caption = _text(members["txt"])
    return Clip(
        video_fhwc=decode_video(members["mp4"], frames=row.frames, height=bucket.height, width=bucket.width),
        waveform=decode_audio(members["flac"], frames=row.frames) if "flac" in members else None,
        caption=caption,
        references=tuple(
            decode_image(members[f"ref{number}.png"], height=2 * bucket.height, width=2 * bucket.width)
            for number in range(min(row.references, bucket.references))
        ),
        faces=decode_faces(members["faces.json"], frames=row.frames, identities=row.identities),
    )


def decode_video(content: bytes, *, frames: int, height: int, width: int) -> UInt8:
    """RGB frames (F, H, W, 3), scaled so that they just cover height x width. Raises DamagedSample."""
    video: UInt8 | None = None
    decoded = 0
    # One for all frames, and without threads: setting it up anew costs as much as the decoding.
    reformatter = VideoReformatter()
    try:
        with av.open(io.BytesIO(content), mode="r", format="mp4") as container:
            if not container.streams.video:
                raise DamagedSample("the mp4 has no video")
            stream = container.streams.video[0]
            stream.thread_count = 1
            for frame in container.decode(stream):
                if decoded == frames:
                    raise DamagedSample(f"the mp4 has more than {frames} frames")
                scale = max(height / frame.height, width / frame.width)
                covering = round(frame.width * scale), round(frame.height * scale)
                scaled = reformatter.reformat(frame, *covering, "rgb24", interpolation=Interpolation.AREA, threads=1)
                if video is None:
                    video = np.empty((frames, covering[1], covering[0], 3), np.uint8)
                if video.shape[1:3] != covering[::-1]:
                    raise DamagedSample("the mp4 changes its size")
                # Straight into place: a clip is large, and every further copy of it costs a tenth of its decoding.
                video[decoded] = scaled.to_ndarray()
                decoded += 1
    except (av.FFmpegError, ValueError) as error:
        raise DamagedSample(f"the mp4 cannot be decoded: {error}") from error
    if video is None or decoded != frames:
        raise DamagedSample(f"the mp4 has {decoded} frames, the index says {frames}")
    return video


def decode_audio(content: bytes, *, frames: int) -> Float32:
    """The waveform, 640 samples a frame. Raises DamagedSample."""
    try:
        waveform, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    except (soundfile.SoundFileError, ValueError) as error:
        raise DamagedSample(f"the flac cannot be decoded: {error}") from error
    if rate != SAMPLE_RATE or waveform.shape != (frames * SAMPLES_PER_FRAME,):
        raise DamagedSample(
            f"the flac is {waveform.shape} at {rate} Hz, not {frames * SAMPLES_PER_FRAME} mono samples at {SAMPLE_RATE}"
        )
    decoded: Float32 = waveform
    return decoded


def decode_image(content: bytes, *, height: int, width: int) -> UInt8:
    """An RGB picture (height, width, 3), scaled down to fit height x width where it is larger. Raises DamagedSample."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.width * image.height > _LARGEST_IMAGE:
                raise DamagedSample(f"a reference image of {image.width} x {image.height} pixels is too large")
            picture = image.convert("RGB")
            picture.thumbnail((width, height), Image.Resampling.LANCZOS)
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DamagedSample(f"a reference image cannot be decoded: {error}") from error


def decode_faces(content: bytes, *, frames: int, identities: Collection[str]) -> tuple[tuple[FaceBox, ...], ...]:
    """The faces of every frame. Raises DamagedSample, also for somebody whom the index does not see in the clip."""
    try:
        file = _FaceFile.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise DamagedSample(f"faces.json: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if len(file.frames) != frames:
        raise DamagedSample(f"faces.json has {len(file.frames)} frames, the index says {frames}")
    named = {face.identity for boxes in file.frames for face in boxes} - {None}
    if strangers := sorted(str(name) for name in named - set(identities)):
        raise DamagedSample(f"faces.json is of another clip: the index does not know {strangers[0]} in this one")
    return tuple(tuple(boxes) for boxes in file.frames)


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedSample(f"the caption is not UTF-8: {error}") from error
