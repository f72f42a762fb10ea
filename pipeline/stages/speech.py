"""Speech: how much there is, how loud, how clean, and, where a recogniser is asked for, its words."""

import json

from pipeline.backends.loudness import measure_loudness, measure_snr
from pipeline.backends.silero_voice import SileroVoice
from pipeline.backends.sound_content import measure_content
from pipeline.backends.words import WordsBackend, WordsMeasure
from pipeline.stage import Clip, ClipInputs, Measured, Row
from pipeline.stages.options.speech import SpeechConfig
from schemas.errors import UserError


class SpeechStage:
    """Speech spans, loudness, signal-to-noise ratio, what else is heard; words where a recogniser is asked for."""

    name = "speech"

    def __init__(self, config: SpeechConfig) -> None:
        """Load the models. Raises UserError that names what is missing."""
        self._voice = SileroVoice()
        self._words = _recogniser(config)
        heard_by = f"{self._voice.name} {self._voice.version}"
        self.backend = f"{heard_by}, {self._words.name} {self._words.version}" if self._words else heard_by

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """One row: ratio (speech over length, 0..1), loudness (LUFS), SNR (dB), spans (us from the clip's start)."""
        waveform = inputs.waveform()
        voice = self._voice.measure(waveform)
        loudness = measure_loudness(waveform)
        snr = measure_snr(waveform, voice.spans)
        content = measure_content(waveform, voice.spans)
        words = self._words.measure(waveform, voice.spans) if self._words else None
        causes = [loudness.cause, snr.cause, content.cause, words.cause if words else None]
        spans_us = [[_us(start), _us(end)] for start, end in voice.spans]
        row = {
            "id": clip.id,
            "ratio": voice.ratio,
            "loudness_lufs": loudness.lufs,
            "snr_db": snr.snr_db,
            "spans_us": spans_us,
            "longest_pause_s": voice.longest_pause_s,
            "clipping": content.clipping,
            "silence": content.silence,
            "other": content.other,
            "other_flatness": content.other_flatness,
            "bandwidth_hz": content.bandwidth_hz,
            **(_word_columns(words) if words else {}),
            "error": "; ".join(dict.fromkeys(cause for cause in causes if cause)) or None,
        }
        return Measured(rows={"speech": [row]})


def _word_columns(words: WordsMeasure) -> Row:
    """`word_times`: JSON, a list of [word, start, end, score]; us from the clip's start, null where not aligned."""
    times = [
        [
            word.text,
            None if word.start_s is None else _us(word.start_s),
            None if word.end_s is None else _us(word.end_s),
            None if word.score is None else round(word.score, 4),
        ]
        for word in words.words
    ]
    return {
        "language": words.language,
        "language_probability": words.language_probability,
        "text": words.text,
        "word_times": json.dumps(times, ensure_ascii=False, separators=(",", ":")),
        "log_probability": words.log_probability,
        "no_speech": words.no_speech,
        "compression": words.compression,
        "repeats": words.repeats,
    }


def _recogniser(config: SpeechConfig) -> WordsBackend | None:
    if config.words == "none":
        return None
    if config.whisper is None:
        raise UserError(f"speech.words={config.words} needs Whisper in CTranslate2's layout: set speech.whisper")
    # Both bring libraries that only they need.
    if config.words == "faster-whisper":
        from pipeline.backends.faster_whisper_words import FasterWhisperWords

        return FasterWhisperWords(config.whisper, device=config.device, language=config.language)
    from pipeline.backends.whisperx_words import WhisperxWords

    return WhisperxWords(config.whisper, config.aligners, device=config.device, language=config.language)


def _us(seconds: float) -> int:
    return round(1_000_000 * seconds)
