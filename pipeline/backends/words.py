"""Words heard in a clip: what a recogniser must give, and what is known to go wrong with recognisers."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
LONGEST_PATTERN = 6
"""Words of the longest phrase whose repetitions are counted."""

Spans = tuple[tuple[float, float], ...]
"""Stretches of speech, start and end in seconds."""


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word as it is written. Times are seconds from the clip's start; None where it could not be aligned."""

    text: str
    start_s: float | None
    end_s: float | None
    score: float | None
    """The recogniser's or the aligner's probability, 0 to 1; the two do not compare."""


@dataclass(frozen=True, kw_only=True)
class WordsMeasure:
    """What was said, and how far it can be believed. None where it was not measured; `cause` says what went wrong."""

    language: str | None
    """ISO 639-1 code, as Whisper's."""
    language_probability: float | None
    text: str | None
    words: tuple[Word, ...]
    log_probability: float | None
    """Mean log-probability of a token, over the segments by their length. Under -1.5 it is likely wrong."""
    no_speech: float | None
    """Highest probability among the segments that nobody speaks; None from recognisers that do not say."""
    compression: float | None
    """Bytes of the text over its compressed bytes: above 2.4 it repeats itself."""
    repeats: int
    """How often a phrase follows itself at most; 1 where nothing is repeated. Hallucinated runs reach dozens."""
    cause: str | None


NO_WORDS = WordsMeasure(
    language=None,
    language_probability=None,
    text=None,
    words=(),
    log_probability=None,
    no_speech=None,
    compression=None,
    repeats=0,
    cause="no words: there is no speech",
)


class WordsBackend(Protocol):
    """A recogniser. Made once, with its weights; called for any number of clips."""

    name: str
    version: str

    def measure(self, waveform_s: NDArray[np.float32], spans: Spans) -> WordsMeasure:
        """Words of mono audio at 16 kHz, shape (samples,), within the stretches of speech that were found before."""
        ...


def compression_ratio(text: str) -> float:
    """UTF-8 bytes over zlib's (Whisper's measure of repetition)."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def longest_repeat(words: Sequence[str]) -> int:
    """How often the same phrase of up to LONGEST_PATTERN words follows itself at most; 0 without a word."""
    plain = [re.sub(r"\W+", "", word).casefold() or word for word in words]
    best = 1 if plain else 0
    for length in range(1, LONGEST_PATTERN + 1):
        run = 0
        for index in range(length, len(plain)):
            run = run + 1 if plain[index] == plain[index - length] else 0
            best = max(best, 1 + run // length)
    return best


def repeated_sign(text: str) -> int:
    """Length of the longest run of one sign that is no letter: `!!!!` is a known hallucination."""
    return max((len(run.group()) for run in re.finditer(r"([^\w\s])\1*", text)), default=0)


def assembled(
    *,
    language: str | None,
    language_probability: float | None,
    said: str,
    words: Sequence[Word],
    log_probability: float | None,
    no_speech: float | None,
    troubles: Sequence[str],
) -> WordsMeasure:
    """A measure from what a recogniser gave, with the troubles that show in any recogniser's words."""
    text = " ".join(said.split())
    found = list(troubles)
    untimed = sum(word.start_s is None or word.end_s is None for word in words)
    if untimed:
        found.append(f"{untimed} of {len(words)} words have no time")
    lost = len(text.split()) - sum(len(word.text.split()) for word in words)
    if lost > 0 and " " in text:
        found.append(f"{lost} words of the text have no entry")
    return WordsMeasure(
        language=language,
        language_probability=language_probability,
        text=text or None,
        words=tuple(words),
        log_probability=log_probability,
        no_speech=no_speech,
        compression=compression_ratio(text) if text else None,
        repeats=max(longest_repeat(text.split()), repeated_sign(text)),
        cause="; ".join(found) or (None if text else "no words: nothing was recognised"),
    )
