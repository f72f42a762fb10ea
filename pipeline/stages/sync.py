"""Sync: is the speech in step with a mouth on screen, and with whose?"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.backends.mouth_sync import STILL, SURROGATES, SyncMeasure, find_offset
from pipeline.stage import Clip, ClipInputs, Inapplicable, Measured, Row
from pipeline.stages.options.sync import VERSION, SyncConfig
from schemas.errors import UserError

FRAME_US = 40_000


class TrackSync(Protocol):
    """Measures every face track of a clip."""

    name: str

    def measure(self, clip: Clip, inputs: ClipInputs, tracks: list[Row]) -> dict[int, SyncMeasure]:
        """Track -> its measure."""
        ...


class MouthTracks:
    """The mouth's openness, measured with the faces, against the sound."""

    name = f"mouth {VERSION}, {SURROGATES} surrogates"

    def measure(self, clip: Clip, inputs: ClipInputs, tracks: list[Row]) -> dict[int, SyncMeasure]:
        """See TrackSync."""
        waveform = inputs.waveform()
        return {
            int(track["track"]): find_offset(_mouth(track), waveform, seed_key=f"{clip.id}_t{track['track']}")
            for track in tracks
        }


class SyncStage:
    """Offset, confidence and significance for each face track, and the track that most likely speaks."""

    name = "sync"

    def __init__(self, config: SyncConfig) -> None:
        """Load the model. Raises UserError that names what is missing."""
        self._config = config
        self._tracks = _backend(config)
        self.backend = self._tracks.name

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """One row for the clip, one for each track. Offsets in frames at 25 fps, positive where the audio is late."""
        inputs.waveform()
        speech = inputs.rows("speech")[0]
        inputs.rows("faces")  # raises where faces failed; an empty list of tracks would hide that
        tracks = inputs.rows("tracks")
        if not speech["ratio"]:
            raise Inapplicable("there is no speech")
        if not tracks:
            row = {"id": clip.id, "voice_over": True, "error": "no face is seen while speech is heard"}
            return Measured(rows={"sync": [row], "sync_tracks": []})
        measures = self._tracks.measure(clip, inputs, tracks)
        spoken = _spoken_frames(clip.frames, speech["spans_us"])
        rows = [_track_row(clip, track, measures[int(track["track"])], spoken) for track in tracks]
        rows.sort(key=lambda row: int(row["track"]))
        return Measured(rows={"sync": [self._clip(clip, rows)], "sync_tracks": rows})

    def _clip(self, clip: Clip, rows: list[Row]) -> Row:
        """The track in step is the speaker; where none is, and each of them told, the speech is a voice-over."""
        certain = [row for row in rows if row["p_value"] is not None]
        told = len(certain) + sum(row["error"] == STILL for row in rows)
        causes = "; ".join(sorted({row["error"] for row in rows if row["error"]})) or None
        if not certain:
            return {"id": clip.id, "voice_over": True if told == len(rows) else None, "error": causes}
        ranked = sorted(certain, key=lambda row: (row["p_value"], -row["confidence"], row["track"]))
        best = ranked[0]
        in_step = best["p_value"] <= self._config.voice_over_p
        return {
            "id": clip.id,
            "speaker_track": best["track"] if in_step else None,
            **{name: best[name] for name in ("offset_frames", "confidence", "p_value", "drift_frames", "overlap")},
            "next_p_value": ranked[1]["p_value"] if len(ranked) > 1 else None,
            "voice_over": False if in_step else True if told == len(rows) else None,
            "error": causes,
        }


def _backend(config: SyncConfig) -> TrackSync:
    if config.backend == "mouth":
        return MouthTracks()
    if config.syncnet is None:
        raise UserError("sync.backend=syncnet needs the published weights: set sync.syncnet")
    # torch takes seconds to import, which the local profile need not wait for.
    from pipeline.backends.syncnet_tracks import SyncNetTracks

    return SyncNetTracks(config.syncnet, device=config.device)


def _mouth(track: Row) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in track["mouth"]], dtype=np.float64)


def _spoken_frames(frames: int, spans_us: list[list[int]]) -> NDArray[np.bool_]:
    """Whether somebody speaks in the middle of each frame."""
    middle = (np.arange(frames) + 0.5) * FRAME_US
    spoken = np.zeros(frames, dtype=bool)
    for start, end in spans_us:
        spoken |= (middle >= start) & (middle < end)
    return spoken


def _track_row(clip: Clip, track: Row, measure: SyncMeasure, spoken: NDArray[np.bool_]) -> Row:
    frames = np.arange(clip.frames)
    seen = (frames >= track["first_frame"]) & (frames <= track["last_frame"])
    mouth = _mouth(track)[spoken]
    mouth = mouth[np.isfinite(mouth)]
    return {
        "id": f"{clip.id}_t{track['track']}",
        "clip_id": clip.id,
        "track": track["track"],
        "offset_frames": measure.offset_frames,
        "confidence": measure.confidence,
        "p_value": measure.p_value,
        "drift_frames": measure.drift_frames,
        "overlap": float(seen[spoken].mean()) if spoken.any() else None,
        "mouth_motion": float(mouth.std()) if len(mouth) else None,
        "error": measure.cause,
    }
