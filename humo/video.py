"""Writing a generated video: MP4 at 25 frames a second, its speech beside it, marked as generated."""

from fractions import Fraction
from pathlib import Path

import av
import numpy
from numpy.typing import NDArray

from humo.encoders import FRAME_RATE

AUDIO_RATE = 48000
"""Of the sound track; read the speech at this rate."""
GENERATED_MARK = "AI-generated: this video was made by a HuMo model"
CRF = "17"


def write_video(
    path: Path, frames_thwc: NDArray[numpy.uint8], speech_s: NDArray[numpy.float32] | None, *, mark: bool = True
) -> None:
    """Write the file, whole or not at all.

    Args:
        path: ends in .mp4; its folder exists.
        frames_thwc: RGB, height and width even.
        speech_s: mono at `AUDIO_RATE` in [-1, 1], cut or padded with silence to the video's length; None for no track.
        mark: whether the file says in its metadata (`comment`) that it is AI-generated.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            if mark:
                container.metadata["comment"] = GENERATED_MARK
            video = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": CRF, "preset": "medium"})
            video.height, video.width = frames_thwc.shape[1:3]
            video.pix_fmt = "yuv420p"
            audio = None if speech_s is None else container.add_stream("aac", rate=AUDIO_RATE, layout="mono")
            for picture in frames_thwc:
                container.mux(video.encode(av.VideoFrame.from_ndarray(numpy.ascontiguousarray(picture), "rgb24")))
            container.mux(video.encode(None))
            if audio is not None and speech_s is not None:
                samples = len(frames_thwc) * AUDIO_RATE // FRAME_RATE
                fitted = numpy.zeros((1, samples), numpy.float32)
                fitted[0, : min(samples, len(speech_s))] = speech_s[:samples]
                sound = av.AudioFrame.from_ndarray(fitted.clip(-1, 1), format="fltp", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = AUDIO_RATE, 0, Fraction(1, AUDIO_RATE)
                container.mux(audio.encode(sound))
                container.mux(audio.encode(None))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
