"""Sync: is the speech in step with a mouth on screen, and with whose?"""

from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.backends.mouth_sync import SURROGATES, SyncMeasure, find_offset
from pipeline.stage import Clip, ClipInputs, Inapplicable, Measured, Row
from schemas.configuration import Configuration

VERSION = 1


class SyncConfig(Configuration):
    """How sync is measured. What counts as in step is decided later."""

    backend: Literal["mouth"] = Field(default="mouth", description="Mouth motion against speech, searched over offsets")
    voice_over_p: float = Field(
        default=0.05, gt=0, lt=1, description="Speech is called voice-over where no face is in step below this p-value"
    )


class SyncStage:
    """Offset, confidence and significance for each face track, and the track that most likely speaks."""

    name = "sync"

    def __init__(self, config: SyncConfig) -> None:
        self._config = config
        self.backend = f"mouth {VERSION}, {SURROGATES} surrogates"

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """One row for the clip, one for each track. Offsets in frames at 25 fps, positive where the audio is late."""
        waveform = inputs.waveform()
        speech = inputs.rows("speech")[0]
        inputs.rows("faces")  # raises where faces failed; an empty list of tracks would hide that
        tracks = inputs.rows("tracks")
        if not speech["ratio"]:
            raise Inapplicable("there is no speech")
        if not tracks:
            row = {"id": clip.id, "voice_over": True, "error": "no face is seen while speech is heard"}
            return Measured(rows={"sync": [row], "sync_tracks": []})
        measures = {int(track["track"]): self._track(clip, track, waveform) for track in tracks}
        return Measured(rows={"sync": [self._clip(clip, measures)], "sync_tracks": _track_rows(clip, measures)})

    def _track(self, clip: Clip, track: Row, waveform: np.ndarray) -> SyncMeasure:
        mouth = np.array([np.nan if value is None else value for value in track["mouth"]], dtype=np.float64)
        return find_offset(mouth, waveform, seed_key=f"{clip.id}_t{track['track']}")

    def _clip(self, clip: Clip, measures: dict[int, SyncMeasure]) -> Row:
        certain = {track: measure for track, measure in measures.items() if measure.p_value is not None}
        if not certain:
            causes = sorted({measure.cause or "inconclusive" for measure in measures.values()})
            return {"id": clip.id, "error": "; ".join(causes)}
        speaker, best = min(certain.items(), key=lambda item: (item[1].p_value, -(item[1].confidence or 0.0), item[0]))
        assert best.p_value is not None
        return {
            "id": clip.id,
            "speaker_track": speaker,
            "offset_frames": best.offset_frames,
            "confidence": best.confidence,
            "p_value": best.p_value,
            "voice_over": best.p_value > self._config.voice_over_p,
        }


def _track_rows(clip: Clip, measures: dict[int, SyncMeasure]) -> list[Row]:
    return [
        {
            "id": f"{clip.id}_t{track}",
            "clip_id": clip.id,
            "track": track,
            "offset_frames": measure.offset_frames,
            "confidence": measure.confidence,
            "p_value": measure.p_value,
            "error": measure.cause,
        }
        for track, measure in sorted(measures.items())
    ]
