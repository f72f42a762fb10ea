"""What a run shows of itself: curves, validation losses on fixed noise, videos with sound."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.ranks import run_ranks
from training.config import TrainingConfig
from training.trainer import train

Config = Callable[..., TrainingConfig]
WATCHED = [
    "logging={every: 1, peak_tflops: 0.001}",
    "validation={windows: 1, timesteps: 2, samples: 3, donors: 1, bootstrap: 100, every: 4, videos: 1, video_steps: 2}",
]


def curves(out: Path) -> dict[str, dict[int, float]]:
    events = EventAccumulator(str(out / "board"))
    events.Reload()
    return {tag: {point.step: point.value for point in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


@pytest.fixture(scope="module")
def watched(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.training.conftest import SMALL
    from training.config import load_config

    out = tmp_path_factory.mktemp("watched") / "out"
    train(load_config("mini", [*SMALL, *WATCHED]), data=str(shards), out=out, resume=False)
    return out


def test_the_curves_are_the_logs(watched: Path) -> None:
    found = curves(watched)
    lines = [json.loads(line) for line in (watched / "log.jsonl").read_text().splitlines()]
    for line in lines:
        step = line["step"] + 1
        assert found["loss/all"][step] == pytest.approx(line["loss"])
        assert found["optimizer/gradient_norm"][step] == pytest.approx(line["gradient_norm"])
        tokens = 4 * 3 * 2 * 2
        assert found["speed/tokens_per_second"][step] == pytest.approx(tokens / line["seconds"], rel=1e-5)
        assert found["speed/mfu"][step] == pytest.approx(found["speed/tflops_per_device"][step] / 0.001, rel=1e-5)
        if line["loss_sync"] is not None:
            assert found["loss/sync"][step] == pytest.approx(line["loss_sync"])
        shares = [value for value in line["loss_bands"] if value is not None]
        assert min(shares) <= line["loss"] <= max(shares)
    assert found["memory/gb"][9] > 0.1
    assert 0 <= found["speed/loader_wait_share"][5] <= 1


def test_validation_is_of_the_averages_on_the_same_noise_every_time(
    watched: Path, shards: Path, tiny_model: Path, tmp_path: Path, small_config: Config
) -> None:
    found = curves(watched)["validation/loss_sync"]
    assert sorted(found) == [4, 8, 9]
    # A run that does not move measures the same again; and two processes measure what one does.
    start = f"model.start={tiny_model}"
    still = small_config(
        *WATCHED, start, *(f"stages.{name}.learning_rate=1e-30" for name in ("start", "subject", "sync"))
    )
    train(still, data=str(shards), out=tmp_path / "still", resume=False)
    values = list(curves(tmp_path / "still")["validation/loss_sync"].values())
    assert max(values) - min(values) < 1e-6
    run_ranks(2, _train, still, shards, tmp_path / "two")
    assert list(curves(tmp_path / "two")["validation/loss_sync"].values()) == pytest.approx(values, rel=1e-6)


def _train(config: TrainingConfig, data: Path, out: Path) -> None:
    train(config, data=str(data), out=out, resume=False)


def test_videos_have_the_length_and_the_sound_of_their_prompts(watched: Path) -> None:
    videos = sorted((watched / "validation").rglob("*.mp4"))
    assert [video.parent.name for video in videos] == ["step-00000004", "step-00000008", "step-00000009"]
    assert {video.name for video in videos} == {"val_0.mp4"}
    with av.open(str(videos[-1])) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
        assert container.streams.audio
