"""Recognisers: what they give, and what is recorded of what goes wrong with them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backends.faster_whisper_words import FasterWhisperWords
from pipeline.backends.words import NO_WORDS, Word, assembled, compression_ratio, longest_repeat, repeated_sign
from pipeline.stages.speech import SpeechConfig, SpeechStage
from schemas.errors import UserError
from tests.pipeline.backends.tiny_whisper import make_whisper


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> FasterWhisperWords:
    return FasterWhisperWords(make_whisper(tmp_path_factory.mktemp("tiny")))


def _tone(seconds: float) -> NDArray[np.float32]:
    times = np.arange(round(16_000 * seconds)) / 16_000
    return (0.2 * np.sin(2 * np.pi * 220 * times) * (1 + np.sin(2 * np.pi * 4 * times))).astype(np.float32)


def test_faster_whisper_runs_for_real(whisper: FasterWhisperWords) -> None:
    """The weights are random and so are the words; times, scores and counters are those of the real code."""
    wave = _tone(2.0)
    first, again = (whisper.measure(wave, ((0.2, 1.8),)) for _ in range(2))
    assert first == again
    assert first.text
    assert first.words
    assert all(0.0 <= (word.start_s or 0) <= (word.end_s or 0) <= 2.1 for word in first.words)
    assert all(0 <= (word.score or 0) <= 1 for word in first.words)
    assert (first.log_probability or 0) < 0
    assert 0 <= (first.no_speech or 0) <= 1
    assert first.compression == pytest.approx(compression_ratio(first.text))


def test_without_speech_nothing_is_asked(whisper: FasterWhisperWords) -> None:
    assert whisper.measure(_tone(1.0), ()) == NO_WORDS


def test_runs_are_counted() -> None:
    assert longest_repeat([]) == 0
    assert longest_repeat(["the", "cat", "sat"]) == 1
    assert longest_repeat(["no", "no", "No,", "no"]) == 4
    assert longest_repeat(["thank", "you", "thank", "you", "thank", "you", "all"]) == 3
    assert repeated_sign("what!!!!!!") == 6
    assert compression_ratio("hello " * 50) > 10 > compression_ratio("a fine day") > 0


def _said(text: str, words: list[Word], *troubles: str) -> str | None:
    return assembled(
        language="en",
        language_probability=None,
        said=text,
        words=words,
        log_probability=-0.3,
        no_speech=None,
        troubles=troubles,
    ).cause


def test_what_goes_wrong_is_said() -> None:
    timed = [Word(text=text, start_s=0.1, end_s=0.2, score=0.9) for text in ("it", "costs")]
    numeral = Word(text="42", start_s=None, end_s=None, score=None)
    assert _said("it costs", timed) is None
    assert _said("it costs 42", [*timed, numeral]) == "1 of 3 words have no time"
    assert _said("it costs too much", timed) == "2 words of the text have no entry"
    assert _said("it costs", timed, "1 of 2 segments could not be aligned") == "1 of 2 segments could not be aligned"
    assert _said(" ", []) == "no words: nothing was recognised"


@pytest.mark.parametrize("words", ["faster-whisper", "whisperx"])
def test_a_recogniser_without_weights_does_not_start(words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set speech.whisper"):
        SpeechStage(SpeechConfig.model_validate({"words": words}))
    with pytest.raises(UserError, match="lacks model.bin|not installed"):
        SpeechStage(SpeechConfig.model_validate({"words": words, "whisper": tmp_path}))
