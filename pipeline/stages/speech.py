"""Speech: how much there is, how loud, how clean."""

from typing import Literal

from pydantic import Field

from pipeline.backends.loudness import measure_loudness, measure_snr
from pipeline.backends.silero_voice import SileroVoice
from pipeline.stage import Clip, ClipInputs, Measured
from schemas.configuration import Configuration

VERSION = 1


class SpeechConfig(Configuration):
    """How speech is heard."""

    backend: Literal["silero"] = Field(default="silero", description="Voice activity detector; words need whisperx")


class SpeechStage:
    """Speech spans, loudness, signal-to-noise ratio. The local backend gives no words: language and text are NULL."""

    name = "speech"

    def __init__(self, config: SpeechConfig) -> None:
        self._voice = SileroVoice()
        self.backend = f"{self._voice.name} {self._voice.version}"

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """One row: ratio (speech over length, 0..1), loudness (LUFS), SNR (dB), spans (us from the clip's start)."""
        waveform = inputs.waveform()
        voice = self._voice.measure(waveform)
        loudness = measure_loudness(waveform)
        snr = measure_snr(waveform, voice.spans)
        causes = [cause for cause in (loudness.cause, snr.cause) if cause]
        spans_us = [[round(1_000_000 * start), round(1_000_000 * end)] for start, end in voice.spans]
        row = {
            "id": clip.id,
            "ratio": voice.ratio,
            "loudness_lufs": loudness.lufs,
            "snr_db": snr.snr_db,
            "spans_us": spans_us,
            "longest_pause_s": voice.longest_pause_s,
            "error": "; ".join(causes) or None,
        }
        return Measured(rows={"speech": [row]})
