"""What the model needs from its encoders. The mini encoders and the real ones stand behind the same three protocols."""

from pathlib import Path
from typing import Protocol

import numpy
from numpy.typing import NDArray
from torch import Tensor

SAMPLE_RATE = 16000
"""Audio samples a second, mono, everywhere."""
FRAME_RATE = 25
"""Video frames a second, everywhere."""
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE


class TextEncoder(Protocol):
    """Text, as `humo.conditions.text.clean_text` leaves it, to features."""

    def encode(self, texts: list[str]) -> Tensor:
        """(texts, tokens of the longest, `text_dim`) in float32 on the encoder's device; shorter texts end in zeros."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` of the same class reads."""
        ...


class AudioEncoder(Protocol):
    """Speech to grouped features at the video's frame rate."""

    def encode(self, waveform_s: NDArray[numpy.float32], frames: int) -> Tensor:
        """Features (frames, groups, channels) in float32, one row a video frame, zeros past the end of the sound.

        Args:
            waveform_s: 16 kHz mono in [-1, 1], 640 samples a frame.
            frames: rows wanted. Sound past them is heard by the encoder but has no row.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` of the same class reads."""
        ...


class VideoCodec(Protocol):
    """Pixels to normalised latents and back. 4n+1 frames become n+1 latent frames, the first frame alone."""

    spatial_stride: int
    """Pixels a latent covers along height and width: 8."""
    temporal_stride: int
    """Frames a latent covers along time, but for the first: 4."""

    def encode(self, video_bcthw: Tensor) -> Tensor:
        """(batch, 3, 4n+1, height, width) in [-1, 1] to (batch, 16, n+1, height / 8, width / 8) in float32."""
        ...

    def decode(self, latents_bcthw: Tensor) -> Tensor:
        """The reverse; pixels are clipped to [-1, 1]."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` of the same class reads."""
        ...


def latent_frames(frames: int) -> int:
    """Latent frames of a video of `frames` = 4n+1 frames. Raises ValueError for other lengths."""
    if frames < 1 or frames % 4 != 1:
        raise ValueError(f"{frames} frames; a video has 4n+1")
    return (frames - 1) // 4 + 1
