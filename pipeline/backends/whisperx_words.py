"""Words by whisperx: Whisper in batches, and word times by forced alignment with a CTC model.

It cannot share the core's environment (it pins torch and huggingface-hub), so this module imports it only when its
class is made, in the environment of its own stage. Its voice detection is not used: the stretches of speech are those
of the speech stage, which spares loading a pickled model. Nothing is fetched from a hub: both models are folders.

What it trips over is recorded in `cause`: numerals that its aligner has no sign for, segments that it could not align
("backtrack failed") and gives back without times, and text that its alignment drops.
"""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.backends.faster_whisper_words import FILES, check_folder, installed, weighted
from pipeline.backends.words import NO_WORDS, Spans, Word, WordsMeasure, assembled
from schemas.errors import UserError

ALIGNER_FILES = ("config.json", "vocab.json")
CHUNK_S = 30.0
"""Longest stretch that Whisper takes at once."""


class WhisperxWords:
    """Whisper and the aligners, loaded once; `measure` may be called for any number of clips."""

    name = "whisperx"

    def __init__(
        self, weights: Path, aligners: dict[str, Path], *, device: str = "cpu", language: str | None = None
    ) -> None:
        """Load the models.

        Args:
            weights: Whisper's folder in CTranslate2's layout.
            aligners: language code -> folder of a Wav2Vec2ForCTC with its processor (safetensors).
            device: `cpu` or `cuda`.
            language: Whisper's code, or None to hear it in every clip.

        Raises:
            UserError: the package or a file is missing, or they do not fit together.
        """
        if find_spec("whisperx") is None:
            raise UserError(
                "whisperx is not installed, and pins packages that the core cannot live with: run the workers in an "
                "environment of whisperx==3.8.6, or set speech.words=faster-whisper"
            )
        self.version = f"{installed('whisperx')} {weights.name}"
        check_folder(weights, FILES, "Whisper in CTranslate2's format")
        for code, folder in aligners.items():
            check_folder(folder, ALIGNER_FILES, f"the aligner of {code!r}")
        import whisperx
        from whisperx import alignment

        # Sentences are not asked for, so no tokenizer has to be fetched for them.
        alignment.nltk_load = lambda _: _WholeText()
        self._device = device
        self._whisperx = whisperx
        self._vad = _given_spans()
        try:
            self._model = whisperx.load_model(
                str(weights.absolute()),
                device.partition(":")[0],
                compute_type="float16" if device.startswith("cuda") else "float32",
                language=language,
                vad_model=self._vad,
                local_files_only=True,
                threads=1,
            )
            self._aligners = {code: self._aligner(code, folder) for code, folder in aligners.items()}
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(f"whisperx cannot load its models on {device}: {error}") from error

    def measure(self, waveform_s: NDArray[np.float32], spans: Spans) -> WordsMeasure:
        """See WordsBackend."""
        if not spans:
            return NO_WORDS
        audio = np.ascontiguousarray(waveform_s, dtype=np.float32)
        self._vad.spans = spans
        found = self._model.transcribe(audio, batch_size=4, chunk_size=CHUNK_S)
        segments = [segment for segment in found["segments"] if segment["text"].strip()]
        language = found["language"]
        words, troubles = self._aligned(segments, language, audio)
        return assembled(
            language=language,
            language_probability=None,
            said=" ".join(segment["text"] for segment in segments),
            words=words,
            log_probability=weighted([(s["avg_logprob"], s["end"] - s["start"]) for s in segments]),
            no_speech=None,
            troubles=troubles,
        )

    def _aligner(self, code: str, folder: Path) -> tuple[Any, dict[str, Any]]:
        model, about = self._whisperx.load_align_model(
            code, self._device, model_name=str(folder.absolute()), model_cache_only=True
        )
        return model.eval(), about

    def _aligned(
        self, segments: list[dict[str, Any]], language: str, audio: NDArray[np.float32]
    ) -> tuple[list[Word], list[str]]:
        if not segments:
            return [], []
        if language not in self._aligners:
            return _unaligned(segments), [f"no aligner for the language {language!r}"]
        model, about = self._aligners[language]
        words: list[Word] = []
        failed = 0
        # One by one: it does not say which of the segments it gave back whole.
        for segment in segments:
            aligned = self._whisperx.align([segment], model, about, audio, self._device)["segments"]
            here = [word for part in aligned for word in part["words"]]
            if not here:
                failed += 1
                words += _unaligned([segment])
                continue
            words += [
                Word(
                    text=word["word"],
                    start_s=_number(word, "start"),
                    end_s=_number(word, "end"),
                    score=_number(word, "score"),
                )
                for word in here
            ]
        return words, [f"{failed} of {len(segments)} segments could not be aligned"] if failed else []


def _given_spans() -> Any:
    """Stands where whisperx has a voice detector; gives the stretches that were found before, set as `spans`."""
    from whisperx.vads import Vad

    class GivenSpans(Vad):  # type: ignore[misc]
        spans: Spans = ()

        def __call__(self, audio: dict[str, Any]) -> list[SimpleNamespace]:
            return [
                SimpleNamespace(start=at, end=min(at + CHUNK_S, end), speaker="UNKNOWN")
                for start, end in self.spans
                for at in np.arange(start, end, CHUNK_S).tolist()
            ]

    return GivenSpans(0.5)


class _WholeText:
    """Stands where whisperx has a sentence splitter: a segment is one sentence."""

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]


def _unaligned(segments: list[dict[str, Any]]) -> list[Word]:
    return [
        Word(text=word, start_s=None, end_s=None, score=None)
        for segment in segments
        for word in segment["text"].split()
    ]


def _number(word: dict[str, Any], name: str) -> float | None:
    value = word.get(name)
    return None if value is None or not np.isfinite(value) else float(value)
