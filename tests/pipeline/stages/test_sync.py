"""Who speaks, and when nobody in view does."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from pipeline.backends.mouth_sync import STILL
from pipeline.demo.speech import VOICES, per_frame, speak
from pipeline.stage import Clip, Inapplicable, Row
from pipeline.stages.sync import SyncConfig, SyncStage

FRAMES = 97
CLIP = Clip(
    id="c",
    source_id="s",
    shot_id="h",
    start_us=0,
    end_us=1,
    frames=FRAMES,
    width=96,
    height=96,
    media_sha256="",
    audio_sha256="",
)


def _said(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    said = speak(np.random.default_rng(seed), seconds=FRAMES / 25, voice=VOICES["collins"])
    noise = 0.05 * np.random.default_rng(seed + 1000).standard_normal(FRAMES)
    wave = resample_poly(said.waveform_s, 1, 3).astype(np.float32)[: FRAMES * 640]
    return per_frame(said.opening_t, fps=25, frames=FRAMES) + noise, wave


class _Inputs:
    def __init__(self, wave: NDArray[np.float32], mouths: list[NDArray[np.float64]], ratio: float = 0.9) -> None:
        self._wave = wave
        self._tables = {
            "speech": [{"ratio": ratio, "spans_us": [[0, 1_940_000], [2_500_000, 3_880_000]]}],
            "faces": [{"subjects": len(mouths)}],
            "tracks": [
                {"track": number, "first_frame": 0, "last_frame": FRAMES - 1, "mouth": mouth.tolist()}
                for number, mouth in enumerate(mouths)
            ],
        }

    def waveform(self) -> NDArray[np.float32]:
        return self._wave

    def rows(self, table: str) -> list[Row]:
        return self._tables[table]


def measured(inputs: _Inputs) -> tuple[Row, list[Row]]:
    rows = SyncStage(SyncConfig()).measure(CLIP, inputs).rows  # type: ignore[arg-type]
    return rows["sync"][0], rows["sync_tracks"]


@pytest.mark.parametrize("who", [0, 1, 2])
def test_of_several_faces_the_one_in_step_speaks(who: int) -> None:
    mouth, wave = _said(3)
    others = [_said(seed)[0] for seed in (7, 9)]
    faces = [*others[:who], mouth, *others[who:]]
    row, tracks = measured(_Inputs(wave, faces))
    assert row["speaker_track"] == who
    assert abs(row["offset_frames"]) <= 1
    assert row["p_value"] <= 0.005 < row["next_p_value"]
    assert row["voice_over"] is False
    assert abs(row["drift_frames"]) <= 1
    assert [track["track"] for track in tracks] == [0, 1, 2]


def test_who_listens_does_not_speak() -> None:
    mouth, wave = _said(4)
    row, tracks = measured(_Inputs(wave, [np.full(FRAMES, 0.2), mouth]))
    assert row["speaker_track"] == 1
    assert tracks[0]["error"] == STILL
    assert tracks[0]["mouth_motion"] < 0.001 < tracks[1]["mouth_motion"]


def test_a_closed_mouth_under_speech_is_a_voice_over() -> None:
    _, wave = _said(5)
    row, _ = measured(_Inputs(wave, [np.full(FRAMES, 0.2)]))
    assert row["voice_over"] is True
    assert row.get("speaker_track") is None
    assert row.get("offset_frames") is None
    assert row["error"] == STILL


def test_no_face_under_speech_is_a_voice_over() -> None:
    row, tracks = measured(_Inputs(_said(5)[1], []))
    assert row["voice_over"] is True
    assert row.get("p_value") is None
    assert tracks == []


def test_a_mouth_that_is_not_seen_tells_nothing() -> None:
    _, wave = _said(6)
    row, _ = measured(_Inputs(wave, [np.full(FRAMES, np.nan), np.full(FRAMES, 0.2)]))
    assert row["voice_over"] is None
    assert row.get("p_value") is None
    assert "was measured in 0%" in row["error"]


def test_a_moving_mouth_over_silence_is_inapplicable() -> None:
    mouth, _ = _said(7)
    with pytest.raises(Inapplicable, match="no speech"):
        measured(_Inputs(np.zeros(FRAMES * 640, np.float32), [mouth], ratio=0.0))


def test_sound_that_drifts_is_told_from_sound_that_keeps_its_distance() -> None:
    mouth, wave = _said(8)
    stretched = np.interp(np.linspace(0, len(wave) - 1 - 640 * 12, len(wave)), np.arange(len(wave)), wave)
    steady, _ = measured(_Inputs(wave, [mouth]))
    drifting, _ = measured(_Inputs(stretched.astype(np.float32), [mouth]))
    assert abs(steady["drift_frames"]) <= 1
    assert abs(drifting["drift_frames"]) >= 3


def test_overlap_is_the_share_of_the_speech_with_the_face_in_view() -> None:
    mouth, wave = _said(3)
    inputs = _Inputs(wave, [mouth])
    inputs.rows("tracks")[0]["first_frame"] = 49
    row, _ = measured(inputs)
    # Frames 0 to 47 and 63 to 96 are spoken.
    assert row["overlap"] == pytest.approx(34 / 82, abs=0.02)
