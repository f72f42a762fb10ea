"""The voice alone: asked for, it is a row and a file of every clip with sound; not asked for, a row that says so."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.backends import demucs_vocals
from pipeline.backends.demucs_vocals import DemucsVocals
from pipeline.config import CurateConfig
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.preflight import check_backends
from pipeline.stage import Clip, Inapplicable
from pipeline.stages.vocals import DemucsStage, VocalsConfig
from pipeline.store.files import Files
from pipeline.store.media import get_media
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from pipeline.weights.locate import CACHE
from schemas.errors import UserError
from tests.pipeline import tiny_models
from tests.pipeline.backends.test_demucs_vocals import Shares, speechlike
from tests.pipeline.direct_run import curate_directly
from tests.pipeline.made_videos import clicks, steady, texture, write_video

CLIP = Clip(
    id="0" * 16 + "_0_1",
    source_id="0" * 16,
    shot_id="",
    start_us=0,
    end_us=1,
    frames=5,
    width=1,
    height=1,
    media_sha256="",
    audio_sha256="",
)


class Heard:
    """A clip's inputs of which only the sound is asked for."""

    def __init__(self, waveform: np.ndarray) -> None:
        self._waveform = waveform

    def waveform(self) -> np.ndarray:
        return self._waveform


@pytest.mark.parametrize(("voice", "share"), [(0.5, 0.5), (0.75, 0.9), (1.0, 1.0), (0.0, 0.0)])
def test_the_share_is_of_energy(monkeypatch: pytest.MonkeyPatch, voice: float, share: float) -> None:
    monkeypatch.setattr(demucs_vocals, "_network", lambda folder: Shares({"vocals": voice, "other": 1 - voice}))
    stage = DemucsStage(DemucsVocals(Path("anywhere"), version="stand-in", device="cpu"))
    waveform = speechlike(97 * 640)
    found = stage.measure(CLIP, Heard(waveform - waveform.mean()))  # type: ignore[arg-type]
    assert found.rows["vocals"][0]["share"] == pytest.approx(share, abs=0.01)
    silent = stage.measure(CLIP, Heard(np.zeros(3200, np.float32))).rows["vocals"][0]  # type: ignore[arg-type]
    assert (silent["share"], silent["error"]) == (None, "silence: neither voice nor anything else")


def test_a_stem_that_overshoots_is_clipped_and_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demucs_vocals, "_network", lambda folder: Shares({"vocals": 3.0, "other": 0.0}))
    stage = DemucsStage(DemucsVocals(Path("anywhere"), version="stand-in", device="cpu"))
    waveform = np.full(3200, 0.9, np.float32) * np.sin(np.arange(3200) / 50).astype(np.float32)
    (stem,) = stage.measure(CLIP, Heard(waveform)).media  # type: ignore[arg-type]
    samples, rate = soundfile.read(io.BytesIO(stem.data), dtype="float32")
    assert (rate, samples.shape) == (16_000, (3200,))
    loud = np.abs(waveform[100:-100]) > 0.5
    assert (np.sign(samples) == np.sign(waveform))[100:-100][loud].all()
    assert np.abs(samples).max() > 0.99


def test_a_run_stores_stems_when_asked_and_separates_nothing_else_again(tmp_path: Path) -> None:
    for name, sound in {"heard": clicks(2.0, [0.3, 0.9, 1.4]), "silent": None}.items():
        write_video(tmp_path / f"{name}.mp4", [texture(3, width=128, height=96)] * 45, times_ms=steady(45), sound=sound)
    clips = {"frames": 21, "min_frames": 17}
    plain = CurateConfig.model_validate({"clips": clips})
    run = tmp_path / "run"
    curate_directly(run, [tmp_path / "heard.mp4", tmp_path / "silent.mp4"], plain)
    files = Files(str(run))
    before = Relations(files, latest(files)).arrow("vocals").to_pylist()
    assert {row["status"] for row in before} == {"inapplicable"}
    assert files.names("media/vocals") == []

    own = {"htdemucs-ft-vocals": tiny_models.demucs(tmp_path / "weights")}
    asked = CurateConfig.model_validate({"clips": clips, "vocals": {"backend": "demucs"}, "weights": {"own": own}})
    curate_directly(run, [], asked)
    relations = Relations(files, latest(files))
    rows = {row["id"]: row for row in relations.arrow("vocals").to_pylist()}
    heard = {row["id"]: row["audio_sha256"] for row in relations.arrow("clips").to_pylist() if row["status"] == "ok"}
    assert sorted(rows) == sorted(heard)
    assert len(set(heard.values()) - {None}) >= 2
    for key, audio in heard.items():
        row = rows[key]
        assert row["status"] == ("inapplicable" if audio is None else "ok")
        if audio is not None:
            raw, stem = (
                get_media(files, kind, sha) for kind, sha in (("audio", audio), ("vocals", row["vocals_sha256"]))
            )
            assert soundfile.info(io.BytesIO(stem)).frames == soundfile.info(io.BytesIO(raw)).frames
    work = latest(files).work
    assert work["computed.vocals"] == 2 * len(heard)
    assert work["computed.speech"] == len(heard)


def test_only_what_changes_a_stem_changes_the_fingerprint_and_a_missing_weight_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off, on = CurateConfig(), CurateConfig(vocals=VocalsConfig(backend="demucs"))
    changed = {name for name, value in fingerprints(off).items() if fingerprints(on)[name] != value}
    assert changed == {"vocals"}
    monkeypatch.setenv(CACHE, str(tmp_path))
    with pytest.raises(UserError, match="humo fetch htdemucs-ft-vocals"):
        check_backends(on, cluster=False)


def test_a_source_without_sound_has_none(tmp_path: Path) -> None:
    stage = DemucsStage(DemucsVocals(tiny_models.demucs(tmp_path), version="tiny", device="cpu"))

    class Deaf(Heard):
        def waveform(self) -> np.ndarray:
            raise Inapplicable("the source has no sound")

    with pytest.raises(Inapplicable):
        stage.measure(CLIP, Deaf(np.zeros(0)))  # type: ignore[arg-type]
