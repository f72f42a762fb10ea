"""SyncNet's shapes and weights, its cepstra against the authors' package, and planted offsets."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.backends.cepstra import cepstra
from pipeline.backends.mouth_sync import SEARCH_FRAMES
from pipeline.backends.syncnet import SyncNet, load_syncnet
from pipeline.backends.syncnet_tracks import SyncNetTracks, crop, find_offset
from pipeline.stage import Clip, FramesHWC, Row
from pipeline.stages.sync import SyncConfig, SyncStage
from schemas.errors import UserError

FRAMES = 53


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the published layout: a state dictionary, saved by torch."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    torch.save(SyncNet().state_dict(), path)
    return path


def test_cepstra_are_those_of_the_authors_package() -> None:
    """python_speech_features 0.6, `mfcc(samples, 16000)`, first and fourth step."""
    times = np.arange(1600) / 16_000
    tones = np.round(8000 * np.sin(2 * np.pi * 440 * times) + 2000 * np.sin(2 * np.pi * 3000 * times))
    expected = [
        [
            20.3156,
            2.2728,
            -0.9674,
            19.381,
            -46.732,
            -47.4251,
            6.7193,
            -32.2446,
            -19.9766,
            39.9113,
            8.4414,
            3.2353,
            32.5132,
        ],
        [
            20.3229,
            7.3996,
            -9.1156,
            23.9284,
            -40.5045,
            -46.958,
            5.9829,
            -30.8605,
            -17.2679,
            40.2714,
            8.2756,
            5.6546,
            33.3007,
        ],
    ]
    found = cepstra((tones / 32768).astype(np.float32))
    assert found.shape == (9, 13)
    np.testing.assert_allclose(found[[0, 3]], expected, atol=1e-3)
    assert np.isfinite(cepstra(np.zeros(16_000, np.float32))).all()


def test_shapes_and_parameters() -> None:
    network = SyncNet().eval()
    with torch.inference_mode():
        assert network.sound(torch.zeros(2, 1, 13, 20)).shape == (2, 1024)
        assert network.lips(torch.zeros(2, 3, 5, 224, 224)).shape == (2, 1024)
        # Before the heads each tower has come down to one place with 512 channels.
        assert network.netcnnaud(torch.zeros(1, 1, 13, 20)).shape == (1, 512, 1, 1)
        assert network.netcnnlip(torch.zeros(1, 3, 5, 224, 224)).shape == (1, 512, 1, 1, 1)
    state = network.state_dict()
    assert state["netcnnlip.0.weight"].shape == (96, 3, 5, 7, 7)
    assert state["netcnnaud.18.weight"].shape == (512, 256, 5, 4)
    assert state["netfclip.3.bias"].shape == (1024,)
    # Counted by hand from the layers; with the statistics of the normalisations 54.6 MB, as the published file has.
    assert sum(parameter.numel() for parameter in network.parameters()) == 13_631_616
    assert 54.5e6 < sum(value.numel() * value.element_size() for value in state.values()) < 54.65e6


def test_weights_are_loaded_as_they_are(weights: Path) -> None:
    network = load_syncnet(weights, "cpu")
    assert not network.training
    state = torch.load(weights, weights_only=True)
    assert torch.equal(network.netfcaud[3].weight, state["netfcaud.3.weight"])


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("evil"),))


@pytest.mark.parametrize("spoil", ["missing", "pickle", "garbage", "other", "short"])
def test_weights_that_are_none_are_refused(
    weights: Path, tmp_path: Path, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights"
    if spoil == "pickle":
        path.write_bytes(pickle.dumps(_Evil()))
    elif spoil == "garbage":
        path.write_bytes(b"\x00" * 1000)
    elif spoil == "other":
        torch.save({"netcnnaud.0.weight": torch.zeros(64, 1, 3, 3)}, path)
    elif spoil == "short":
        path.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(UserError):
        load_syncnet(path, "cpu")
    assert not (tmp_path / "evil").exists()


def _walk(rng: np.random.Generator, frames: int) -> NDArray[np.float32]:
    """Embeddings that change from frame to frame, as those of neighbouring windows do."""
    steps = rng.standard_normal((frames + 4, 64))
    return np.asarray(sum(steps[at : at + frames] for at in range(5)), dtype=np.float32)


@settings(max_examples=62)
@given(late=st.integers(-SEARCH_FRAMES, SEARCH_FRAMES), seed=st.integers(0, 1000), first=st.integers(0, 8))
def test_every_planted_offset_is_found(late: int, seed: int, first: int) -> None:
    rng = np.random.default_rng(seed)
    world = _walk(rng, 93 + 2 * SEARCH_FRAMES)
    lips = world[SEARCH_FRAMES : SEARCH_FRAMES + 93]
    sound = world[SEARCH_FRAMES - late : SEARCH_FRAMES - late + 93]
    noisy = (sound + 0.5 * rng.standard_normal(sound.shape)).astype(np.float32)
    found = find_offset(lips[first:], noisy, first=first)
    assert found.offset_frames == late
    assert (found.confidence or 0) > 3
    assert found.p_value == pytest.approx(1 / (93 - 4 * SEARCH_FRAMES), abs=1e-6)


def test_strangers_are_not_significant() -> None:
    found = [
        find_offset(_walk(np.random.default_rng(n), 93), _walk(np.random.default_rng(n + 100), 93)) for n in range(20)
    ]
    assert np.mean([(one.p_value or 0) < 0.05 for one in found]) <= 0.2
    assert max(one.confidence or 0 for one in found) < 3


def test_a_crop_is_centred_and_grey_beyond_the_picture() -> None:
    frame = np.zeros((100, 200, 3), np.uint8)
    frame[:, 100:] = 200
    inside = crop(frame, 100, 50, 20)
    assert inside.shape == (224, 224, 3)
    assert (inside[100, 60], inside[100, 160]) == (pytest.approx(0), pytest.approx(200))
    beyond = crop(frame, 0, 0, 20)
    assert beyond[5, 5].tolist() == [110, 110, 110]


class _Inputs:
    """A face that stands still in noise, and a voice."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def waveform(self) -> NDArray[np.float32]:
        return (0.1 * np.random.default_rng(1).standard_normal(FRAMES * 640)).astype(np.float32)

    def rows(self, table: str) -> list[Row]:
        return {
            "speech": [{"ratio": 0.9, "spans_us": [[0, 2_000_000]]}],
            "faces": [{"boxes_sha256": ""}],
            "tracks": [
                {"track": 0, "first_frame": 0, "last_frame": FRAMES - 1, "mouth": [0.1, 0.2] * (FRAMES // 2) + [0.1]},
                {"track": 1, "first_frame": 0, "last_frame": 9, "mouth": [0.1] * FRAMES},
            ],
        }[table]

    def frames(self) -> Iterator[tuple[int, FramesHWC]]:
        for index in range(FRAMES):
            yield index, self._rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)

    def boxes(self) -> dict[int, dict[int, tuple[float, float, float, float]]]:
        return {
            0: dict.fromkeys(range(0, FRAMES, 2), (0.2, 0.2, 0.7, 0.8)),
            1: dict.fromkeys(range(10), (0.0, 0.0, 0.2, 0.2)),
        }


def test_the_stage_runs_with_it(weights: Path) -> None:
    stage = SyncStage(SyncConfig(backend="syncnet", syncnet=weights))
    assert "syncnet syncnet_v2.model" in stage.backend
    clip = Clip(
        id="c", source_id="s", shot_id="h", start_us=0, end_us=1, frames=FRAMES, width=96, height=96,
        media_sha256="", audio_sha256="",
    )  # fmt: skip
    measured = stage.measure(clip, _Inputs())
    whole, brief = measured.rows["sync_tracks"]
    assert abs(whole["offset_frames"]) <= SEARCH_FRAMES
    assert whole["confidence"] >= 0
    assert brief["confidence"] is None
    assert "too few for SyncNet" in brief["error"]
    row = measured.rows["sync"][0]
    # One face of two could not be measured, and 53 frames are too few for a p-value: nothing is claimed.
    assert row["voice_over"] is None
    assert row.get("p_value") is None


def test_without_weights_the_run_does_not_start() -> None:
    with pytest.raises(UserError, match="sync.syncnet"):
        SyncStage(SyncConfig(backend="syncnet"))
    with pytest.raises(UserError, match="there is no file"):
        SyncNetTracks(Path("nowhere"))
