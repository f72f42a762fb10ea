"""Where somebody speaks: Silero VAD, from the ONNX file in its wheel, on ONNX Runtime alone.

The package itself imports torch, which the model in this form does not need, so only its file is used: the "sequence"
export, which takes many windows in one call and gives the same probabilities as the streaming model (its own
documentation says bit for bit; a test holds us to it). Spans are cut with the package's own rule and defaults.
"""

from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UserError

SAMPLE_RATE = 16_000
WINDOW = 512
"""Samples that one probability stands for (32 ms)."""
CONTEXT = 64
"""Samples of the window before that the model sees again."""
WINDOWS_PER_CALL = 512
MODEL_FILE = "silero_vad_16k_sequence.onnx"
START_PROBABILITY = 0.5
STOP_PROBABILITY = 0.35
SHORTEST_SPEECH = 0.25
SHORTEST_PAUSE = 0.1
PADDING = 0.03
"""Seconds added at both ends of a span."""


@dataclass(frozen=True)
class VoiceMeasure:
    """Speech in one clip."""

    ratio: float
    """Share of the clip in which somebody speaks, 0 to 1."""
    spans: tuple[tuple[float, float], ...]
    """Start and end of each stretch of speech, in seconds from the clip's start."""
    longest_pause_s: float | None
    """Longest gap between two stretches, in seconds; None with fewer than two."""


class SileroVoice:
    """The model, loaded once; `measure` may be called for any number of clips."""

    name = "silero-vad"

    def __init__(self) -> None:
        """Load the model. Raises UserError where the package or its file is missing."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(_model_path()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self.version = version("silero-vad")

    def measure(self, waveform_s: NDArray[np.float32]) -> VoiceMeasure:
        """Find speech in mono audio at 16 kHz, shape (samples,), -1 to 1.

        Raises:
            ValueError: the audio is not one-dimensional, or holds values that are no numbers.
        """
        if waveform_s.ndim != 1:
            raise ValueError(f"mono audio has one dimension, not {waveform_s.ndim}")
        if not np.isfinite(waveform_s).all():
            raise ValueError("the audio holds values that are no numbers")
        total = len(waveform_s)
        spans = speech_spans(self.probabilities(waveform_s), total)
        pauses = [after[0] - before[1] for before, after in pairwise(spans)]
        return VoiceMeasure(
            ratio=sum(end - start for start, end in spans) / total if total else 0.0,
            spans=tuple((start / SAMPLE_RATE, end / SAMPLE_RATE) for start, end in spans),
            longest_pause_s=max(pauses) / SAMPLE_RATE if pauses else None,
        )

    def probabilities(self, waveform_s: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of speech in each window of 32 ms, shape (ceil(samples / 512),)."""
        count = -(-len(waveform_s) // WINDOW)
        padded = np.zeros(CONTEXT + count * WINDOW, dtype=np.float32)
        padded[CONTEXT : CONTEXT + len(waveform_s)] = waveform_s
        windows_nw = np.stack(
            [padded[at : at + CONTEXT + WINDOW] for at in range(0, count * WINDOW, WINDOW)] or [padded]
        )
        hidden = cell = np.zeros((1, 1, 128), dtype=np.float32)
        parts = [np.zeros(0, dtype=np.float32)]
        for first in range(0, count, WINDOWS_PER_CALL):
            inputs = {"input": windows_nw[first : first + WINDOWS_PER_CALL], "h": hidden, "c": cell}
            values, hidden, cell = self._session.run(["speech_probs", "hn", "cn"], inputs)
            parts.append(np.asarray(values, dtype=np.float32).reshape(-1))
        return np.concatenate(parts)


def speech_spans(probabilities_n: NDArray[np.float32], samples: int) -> list[tuple[int, int]]:
    """Spans of speech in samples, by hysteresis.

    Speech starts at START_PROBABILITY and ends where the probability has stayed below STOP_PROBABILITY, without
    coming back to START_PROBABILITY, for SHORTEST_PAUSE; what is not longer than SHORTEST_SPEECH is dropped, the rest
    is padded, and two neighbours share the gap when it is shorter than two paddings.
    """
    raw: list[tuple[int, int]] = []
    start: int | None = None
    quiet_since: int | None = None
    for index, probability in enumerate(probabilities_n):
        at = index * WINDOW
        if probability >= START_PROBABILITY:
            quiet_since = None
            start = at if start is None else start
        elif start is not None and probability < STOP_PROBABILITY:
            quiet_since = at if quiet_since is None else quiet_since
            if at - quiet_since >= SHORTEST_PAUSE * SAMPLE_RATE:
                raw.append((start, quiet_since))
                start = quiet_since = None
    if start is not None:
        raw.append((start, samples))
    long_enough = [span for span in raw if span[1] - span[0] > SHORTEST_SPEECH * SAMPLE_RATE]
    return _padded(long_enough, samples)


def _padded(spans: list[tuple[int, int]], samples: int) -> list[tuple[int, int]]:
    padding = int(PADDING * SAMPLE_RATE)
    result: list[tuple[int, int]] = []
    for index, (start, end) in enumerate(spans):
        before = start - spans[index - 1][1] if index else start
        after = spans[index + 1][0] - end if index + 1 < len(spans) else samples - end
        lead = padding if index == 0 or before >= 2 * padding else before // 2
        tail = padding if index + 1 == len(spans) or after >= 2 * padding else after // 2
        result.append((max(start - lead, 0), min(end + tail, samples)))
    return result


def _model_path() -> Path:
    spec = find_spec("silero_vad")
    folder = Path(spec.origin).parent / "data" if spec and spec.origin else None
    if folder is None or not (folder / MODEL_FILE).is_file():
        raise UserError(f"Silero VAD's model {MODEL_FILE} is missing; run: pip install silero-vad==6.2.3")
    return folder / MODEL_FILE
