"""Words by faster-whisper (CTranslate2), in the core environment: for machines where whisperx cannot go.

Word times come from the cross-attention of Whisper itself, and are coarser than those of a forced alignment. Decoding
is greedy with beams and no sampling, so a clip gives the same words twice on one machine.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.backends.words import NO_WORDS, Spans, Word, WordsMeasure, assembled
from schemas.errors import UserError

FILES = ("model.bin", "config.json")
BEAMS = 5


class FasterWhisperWords:
    """Whisper, loaded once; `measure` may be called for any number of clips."""

    name = "faster-whisper"

    def __init__(self, weights: Path, *, device: str = "cpu", language: str | None = None) -> None:
        """Load the model.

        Args:
            weights: folder in CTranslate2's layout: model.bin, config.json, tokenizer.json, vocabulary.
            device: `cpu`, or `cuda` with an optional number.
            language: Whisper's code, or None to hear it in every clip.

        Raises:
            UserError: the package or a file is missing, or they do not fit together.
        """
        self.version = f"{installed('faster-whisper')} {weights.name}"
        self._model = load_whisper(weights, device)
        self._language = language if self._model.model.is_multilingual else "en"

    def measure(self, waveform_s: NDArray[np.float32], spans: Spans) -> WordsMeasure:
        """See WordsBackend."""
        if not spans:
            return NO_WORDS
        found, info = self._model.transcribe(
            np.ascontiguousarray(waveform_s, dtype=np.float32),
            language=self._language,
            beam_size=BEAMS,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            # Whisper's own thresholds would drop segments in silence; they are measured instead.
            compression_ratio_threshold=None,
            log_prob_threshold=None,
            no_speech_threshold=None,
            clip_timestamps=[float(edge) for edge in (spans[0][0], spans[-1][1])],
        )
        segments = list(found)
        words = [
            Word(
                text=word.word.strip(), start_s=float(word.start), end_s=float(word.end), score=float(word.probability)
            )
            for segment in segments
            for word in segment.words or ()
            if word.word.strip()
        ]
        return assembled(
            language=info.language,
            language_probability=float(info.language_probability) if self._language is None else None,
            said=" ".join(segment.text for segment in segments),
            words=words,
            log_probability=weighted([(s.avg_logprob, s.end - s.start) for s in segments]),
            no_speech=max((float(segment.no_speech_prob) for segment in segments), default=None),
            troubles=[],
        )


def weighted(values: Sequence[tuple[float, float]]) -> float | None:
    """Mean of values by their weights; None without any."""
    total = sum(max(weight, 1e-3) for _, weight in values)
    return float(sum(value * max(weight, 1e-3) for value, weight in values) / total) if values else None


def installed(package: str) -> str:
    """A package's version. Raises UserError with the command that brings it."""
    try:
        return version(package)
    except ModuleNotFoundError as error:
        raise UserError(f"{package} is not installed; run: pip install {package}") from error


def load_whisper(weights: Path, device: str) -> Any:
    """Whisper in CTranslate2's format, from a folder alone: nothing is fetched."""
    check_folder(weights, FILES, "Whisper in CTranslate2's format")
    from faster_whisper import WhisperModel

    kind, _, number = device.partition(":")
    try:
        return WhisperModel(
            str(weights.absolute()),
            device=kind,
            device_index=int(number or 0),
            compute_type="float16" if kind == "cuda" else "float32",
            cpu_threads=1,
            local_files_only=True,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(f"Whisper in {weights} cannot be loaded on {device}: {error}") from error


def check_folder(folder: Path, files: Sequence[str], what: str) -> None:
    """Raises UserError that names what is missing of a folder of weights."""
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{what}: {folder} lacks {', '.join(missing)}")
