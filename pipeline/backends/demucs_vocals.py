"""The voice without music and noise, by HT Demucs fine-tuned for vocals (arXiv 2211.08553), from the library `demucs`.

The network works on 44.1 kHz stereo. What it is given here is a clip's own 16 kHz mono, brought to that rate: above
8 kHz there is nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.environments import ENVIRONMENTS
from pipeline.weights.weight import Weight, WeightFile
from schemas.errors import UserError
from schemas.sample import SAMPLE_RATE

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = (
    Weight(
        name="htdemucs-ft-vocals",
        source="https://huggingface.co/adefossez/HTDemucs-ft",
        licence="MIT",
        files=(
            WeightFile(
                path="04573f0d.safetensors",
                url="https://huggingface.co/adefossez/HTDemucs-ft/resolve/478be8a68f85418addd6f7baefd4be76522a4034/"
                "04573f0d.safetensors",
                sha256="68854b0d7c2b3274723b5761f6fd9f5aec5f1bcd3f0de7c1669546fdb7871b7c",
                size=84_025_440,
            ),
        ),
    ),
)

NETWORK = "demucs.htdemucs.HTDemucs"
STEM = "vocals"
OVERLAP = 0.25
"""Of the windows that a longer sound is cut into; the library's default."""

Waveform = NDArray[np.float32]


class DemucsVocals:
    """Gives the vocal stem of 16 kHz mono sound."""

    def __init__(self, folder: Path, *, version: str, device: str) -> None:
        """`folder`: holds one `.safetensors` in the published layout. Raises UserError for anything else."""
        self._network: Any = _network(folder).to(device).eval()
        self._device = device
        (library,) = (wanted for package, wanted in ENVIRONMENTS["vocals"].packages if package == "demucs")
        self.name = f"demucs {library} {version}"

    def separate(self, waveform: Waveform) -> Waveform:
        """The voice in a sound: (N,) in [-1, 1] to (N,), in [-1, 1] but for overshoot."""
        import torch
        from demucs.apply import apply_model
        from scipy.signal import resample_poly

        rate = self._network.samplerate
        mix_t = torch.from_numpy(resample_poly(waveform, rate, SAMPLE_RATE)).float()
        # The network expects sound of unit loudness around zero; what the sound stands off from zero is no voice.
        scale = mix_t.std() + 1e-8
        mix_bct = ((mix_t - mix_t.mean()) / scale).expand(1, self._network.audio_channels, -1)
        with torch.inference_mode():
            # Without the random shifts that the library averages over, so that a clip gives the same twice.
            stems_bsct = apply_model(self._network, mix_bct, shifts=0, overlap=OVERLAP, device=self._device)
        voice_t = stems_bsct[0, self._network.sources.index(STEM)].mean(0).cpu() * scale
        voice: Waveform = resample_poly(voice_t.numpy(), SAMPLE_RATE, rate)[: len(waveform)]
        return voice


def _network(folder: Path) -> "nn.Module":
    from demucs.hf import load_safetensors_model
    from safetensors import SafetensorError, safe_open

    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise UserError(f"{folder} must hold one .safetensors of HT Demucs, and holds {len(found)}")
    try:
        with safe_open(found[0], framework="pt") as file:
            said = file.metadata() or {}
        # The library makes whatever class a file names, with the arguments it names: no other is let through.
        if said.get("klass") != NETWORK or "structure" in said:
            raise UserError(f"{found[0]} holds {said.get('klass', 'no network')}, not {NETWORK}")
        network = load_safetensors_model(found[0])
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{found[0]} cannot be read as HT Demucs: {error}") from error
    if STEM not in network.sources:
        raise UserError(f"{found[0]} separates {', '.join(network.sources)}: no {STEM}")
    return network
