"""An audio encoder without weights: mel spectrum at 50 Hz behind the shape of Whisper's hidden states."""

from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from humo.conditions.audio import HIDDEN_STATES, group_hidden_states
from humo.encoders import SAMPLE_RATE, SAMPLES_PER_FRAME
from humo.mini.configuration import MiniConfig, read_config, write_config

HOP = SAMPLES_PER_FRAME // 2
"""50 Hz, as Whisper's encoder."""
WINDOW = 512
LOWEST_HZ, HIGHEST_HZ = 80.0, 7000.0
FLOOR = 1e-5
"""Power below which a band is silence, so that the noise of a recorder and digital zeros look alike."""
MEAN_DECADES, DECADES = 3.5, 1.25
"""Of ordinary speech's band power, below full scale: brings the features to about zero mean and unit variance."""
MIX = 0.3
"""How much of a layer's own mixture joins the stream: deeper states look wider and less like the spectrum."""
TANH_POWER = 0.3
"""Mean square of a mixture after the squashing, so that the deeper states keep their variance."""


def mel_filters(bands: int) -> Tensor:
    """Triangles (bands, WINDOW / 2 + 1) evenly spaced on the mel scale, each summing to 1."""

    def mel(hertz: Any) -> NDArray[numpy.float64]:
        return 2595 * numpy.log10(1 + numpy.asarray(hertz, numpy.float64) / 700)

    edges = numpy.linspace(mel(LOWEST_HZ), mel(HIGHEST_HZ), bands + 2)
    bins = mel(numpy.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE))
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = numpy.clip(numpy.minimum(rising, falling), 0, None)
    # The lowest triangles can fall between two bins: give such a band its nearest bin.
    empty = filters.sum(1) == 0
    nearest = numpy.abs(bins - edges[1:-1, None]).argmin(1)
    filters[empty, nearest[empty]] = 1
    return torch.from_numpy(filters / filters.sum(1, keepdims=True)).float()


class MelAudioEncoder:
    """Log-mel bands, fixed normalisation (loudness survives), then 32 seeded mixing layers over neighbouring instants.

    Args:
        seed: of the mixing layers.
        width: mel bands, and channels of the features.
    """

    def __init__(self, *, seed: int = 0, width: int = 24) -> None:
        self.seed = seed
        self.width = width
        self.filters = mel_filters(width)
        generator = numpy.random.Generator(numpy.random.PCG64(seed))
        weights = generator.standard_normal((HIDDEN_STATES - 1, width, width, 3), dtype=numpy.float32)
        self.mixing = torch.from_numpy(weights / numpy.sqrt(3 * width).astype(numpy.float32))

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> "MelAudioEncoder":
        """From its configuration; it runs on the CPU and leaves moving its small output to the caller."""
        config = read_config(folder, cls.__name__)
        return cls(seed=config.seed, width=config.width)

    def save(self, folder: Path) -> None:
        """Write its configuration."""
        write_config(folder, MiniConfig(encoder=type(self).__name__, seed=self.seed, width=self.width))

    def encode(self, waveform_s: NDArray[numpy.float32], frames: int) -> Tensor:
        """See `humo.encoders.AudioEncoder`."""
        heard = len(waveform_s) // SAMPLES_PER_FRAME
        if heard == 0:
            return torch.zeros(frames, 5, self.width)
        bands_tc = self._bands(torch.from_numpy(numpy.ascontiguousarray(waveform_s[: heard * SAMPLES_PER_FRAME])))
        features = group_hidden_states(self._hidden_states(bands_tc))
        return functional.pad(features, (0, 0, 0, 0, 0, frames - heard))

    def _bands(self, waveform_s: Tensor) -> Tensor:
        """(time at 50 Hz, width): log power of each band, about -1.5 (silence) .. 2 (loud)."""
        padded = functional.pad(waveform_s.float(), ((WINDOW - HOP) // 2, WINDOW - HOP - (WINDOW - HOP) // 2))
        spectrum = torch.fft.rfft(padded.unfold(0, WINDOW, HOP) * torch.hann_window(WINDOW)).abs() ** 2 / WINDOW
        decades = torch.log10(spectrum @ self.filters.T + FLOOR)
        return (decades + MEAN_DECADES) / DECADES

    def _hidden_states(self, bands_tc: Tensor) -> Tensor:
        """(time, 33, width), the first being the bands themselves."""
        states = [bands_tc]
        for weight_ock in self.mixing:
            mixed = torch.tanh(functional.conv1d(states[-1].T, weight_ock, padding=1)).T
            states.append((states[-1] + MIX * mixed) / (1 + MIX**2 * TANH_POWER) ** 0.5)
        return torch.stack(states, dim=1)
