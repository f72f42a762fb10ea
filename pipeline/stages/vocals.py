"""Vocals: the voice alone, as a second sound beside the clip's own, which stays as it is."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from pipeline.backends.flac import flac_of
from pipeline.stage import Clip, ClipInputs, ClipStage, Inapplicable, Measured, Media, Row
from pipeline.stages.options.vocals import VERSION, VocalsConfig
from pipeline.weights.locate import Weights

if TYPE_CHECKING:
    from pipeline.backends.demucs_vocals import DemucsVocals


def vocals_stage(config: VocalsConfig, weights: Weights, *, device: str) -> ClipStage:
    """The stage that the configuration names, with its model loaded. Raises UserError."""
    if config.backend == "none":
        return NoVocalsStage()
    from pipeline.backends.demucs_vocals import DemucsVocals

    found = weights.find("htdemucs-ft-vocals")
    return DemucsStage(DemucsVocals(found.folder, version=found.version, device=device))


class NoVocalsStage:
    """Separates nothing, and says so."""

    name = "vocals"
    backend = "none"

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """See ClipStage."""
        raise Inapplicable("no backend of this configuration separates the voice")


class DemucsStage:
    """Rows of `vocals`, and the stems."""

    name = "vocals"

    def __init__(self, model: "DemucsVocals") -> None:
        self._model = model

    @property
    def backend(self) -> str:
        """The model and this stage's version."""
        return f"{self._model.name}/{VERSION}"

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """One row, and the stem: 16 kHz mono FLAC, sample for sample beside the clip's sound.

        share: energy of the voice over that of voice and rest, 0..1; NULL for silence.
        """
        waveform = inputs.waveform()
        voice = self._model.separate(waveform)
        flac = flac_of(np.round(np.clip(voice, -1, 1) * 32_767).astype(np.int16))
        of_voice, of_rest = float(np.square(voice).sum()), float(np.square(waveform - voice).sum())
        heard = bool(waveform.any())
        row: Row = {
            "id": clip.id,
            "vocals_sha256": hashlib.sha256(flac).hexdigest(),
            "share": of_voice / (of_voice + of_rest) if heard else None,
            "error": None if heard else "silence: neither voice nor anything else",
        }
        return Measured(rows={"vocals": [row]}, media=[Media(kind="vocals", data=flac, suffix=".flac")])
