"""Reading the user's reference images and speech."""

from pathlib import Path

import av
import numpy
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from humo.encoders import SAMPLE_RATE
from schemas.errors import UserError

# Playlists and the like stay out: a file must not make this machine read another, or an address.
CONTAINERS = "3g2,3gp,aac,ac3,aiff,amr,au,avi,caf,eac3,flac,m4a,matroska,mov,mp3,mp4,mpeg,mpegts,ogg,w64,wav,webm"
SAFE = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}


def read_image(path: Path) -> NDArray[numpy.uint8]:
    """(height, width, 3) RGB, turned upright; what is transparent becomes white, like the frame around it.

    Raises UserError for a file that is missing or no image.
    """
    if not path.is_file():
        raise UserError(f"the reference image {path} does not exist")
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is no readable image; give a PNG or JPEG file") from error
    white = Image.new("RGBA", image.size, "white")
    return numpy.asarray(Image.alpha_composite(white, image).convert("RGB"))


def read_audio(path: Path, sample_rate: int = SAMPLE_RATE) -> NDArray[numpy.float32]:
    """The first sound track as mono in [-1, 1], the mean of its channels; of any usual container, video files too.

    Raises UserError for a file that is missing, unreadable or silent of any track.
    """
    if not path.is_file():
        raise UserError(f"the audio file {path} does not exist")
    # Channels are averaged here, because the resampler's own mono is louder: it keeps their power.
    resampler = AudioResampler(format="fltp", rate=sample_rate)
    pieces: list[NDArray[numpy.float32]] = []
    try:
        with av.open(str(path.absolute()), options=SAFE) as container:
            if not container.streams.audio:
                raise UserError(f"{path} has no sound track")
            for frame in container.decode(audio=0):
                # Broken time stamps must not make the resampler refuse or move what was decoded.
                frame.pts = None
                pieces.extend(piece.to_ndarray().mean(0) for piece in resampler.resample(frame))
            pieces.extend(piece.to_ndarray().mean(0) for piece in resampler.resample(None))
    except (av.FFmpegError, ValueError) as error:
        raise UserError(f"{path} is no readable audio: {error}") from error
    if not pieces:
        raise UserError(f"{path} holds no sound")
    return numpy.concatenate(pieces)
