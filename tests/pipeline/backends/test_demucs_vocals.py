"""The vocal stem: read as published, in step with the sound, and nothing made that a file merely names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.signal import resample_poly

from pipeline.backends import demucs_vocals
from pipeline.backends.demucs_vocals import DemucsVocals
from schemas.errors import UserError
from tests.pipeline import tiny_models


class Shares(torch.nn.Module):
    """Gives each stem a fixed share of the mix."""

    def __init__(self, shares: dict[str, float]) -> None:
        super().__init__()
        self.sources, self.samplerate, self.audio_channels, self.segment = [*shares], 44_100, 2, 7.8
        self.register_buffer("_shares", torch.tensor([*shares.values()])[None, :, None, None])

    def forward(self, mix_bct: torch.Tensor) -> torch.Tensor:
        return mix_bct[:, None] * self.get_buffer("_shares")


def speechlike(samples: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (0.1 * resample_poly(rng.standard_normal(samples // 4), 4, 1)[:samples] + 0.02).astype(np.float32)


@pytest.mark.parametrize("frames", [5, 97, 401])
def test_the_stem_is_as_long_as_the_sound_and_in_step(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    """Shorter and longer than the network's window, through two changes of rate."""
    shares = {"vocals": 0.5, "drums": 0.2, "bass": 0.3}
    monkeypatch.setattr(demucs_vocals, "_network", lambda folder: Shares(shares))
    waveform = speechlike(640 * frames)
    stem = DemucsVocals(Path("anywhere"), version="stand-in", device="cpu").separate(waveform)
    assert stem.shape == waveform.shape
    assert stem.dtype == np.float32
    # At its ends a resampled sound has nothing to lean on. What it stands off from zero is nobody's voice.
    assert np.abs(stem - 0.5 * (waveform - waveform.mean()))[200:-200].max() < 2e-3


def test_a_published_layout_is_read_whole_and_gives_the_networks_own_vocals(tmp_path: Path) -> None:
    from demucs.hf import load_safetensors_model

    folder = tiny_models.demucs(tmp_path, sources=("vocals", "other"))
    model = DemucsVocals(folder, version="tiny", device="cpu")
    assert model.name == "demucs 4.1.0 tiny"
    waveform = speechlike(640 * 5)
    network = load_safetensors_model(folder / "04573f0d.safetensors").eval()
    mix = torch.from_numpy(resample_poly(waveform, 441, 160)).float()
    with torch.inference_mode():
        # Shorter than the window: in its middle, as the library fills it up.
        room = int(0.5 * 44_100) - len(mix)
        padded = torch.nn.functional.pad((mix - mix.mean()) / mix.std(), (room // 2, room - room // 2))
        stems = network(padded.expand(1, 2, -1))[0, :, :, room // 2 : room // 2 + len(mix)]
    wanted = resample_poly((stems[0].mean(0) * mix.std()).numpy(), 160, 441)[: len(waveform)]
    stem = model.separate(waveform)
    assert np.allclose(stem, wanted, atol=1e-5)
    assert np.abs(stem).max() > 1e-3
    assert np.array_equal(stem, model.separate(waveform))
    assert np.abs(model.separate(np.zeros(3200, np.float32))).max() < 1e-6


@pytest.mark.parametrize(
    ("about", "complaint"),
    [
        ({"klass": "pathlib.Path", "args": '["made"]'}, "holds pathlib.Path, not demucs.htdemucs.HTDemucs"),
        ({}, "holds no network"),
        ({"structure": '{"_class": "os.system"}'}, "not demucs.htdemucs.HTDemucs"),
        ({"kwargs": "not json"}, "cannot be read"),
        ({"kwargs": json.dumps({"sources": ["vocals"], "channels": "many"})}, "cannot be read"),
    ],
)
def test_what_a_file_names_is_not_made(tmp_path: Path, about: dict[str, Any], complaint: str) -> None:
    said = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": '{"sources": ["vocals"]}', **about}
    save_file({"x": torch.zeros(1)}, tmp_path / "one.safetensors", metadata=said if about else None)
    with pytest.raises(UserError, match=complaint):
        DemucsVocals(tmp_path, version="tiny", device="cpu")


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must hold one .safetensors"):
        DemucsVocals(tmp_path, version="tiny", device="cpu")
    (tmp_path / "one.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match="cannot be read as HT Demucs"):
        DemucsVocals(tmp_path, version="tiny", device="cpu")
    other = tiny_models.demucs(tmp_path / "other", sources=("drums", "bass"))
    with pytest.raises(UserError, match="separates drums, bass: no vocals"):
        DemucsVocals(other, version="tiny", device="cpu")
