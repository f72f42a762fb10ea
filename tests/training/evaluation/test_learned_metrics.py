"""Metrics that ask a model: a tiny CLIP taught colours, a tiny DINOv2, a judge behind a real server."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model, PreTrainedTokenizerFast

from pipeline.backends.syncnet import SyncNet
from schemas.command_line import run
from schemas.errors import UserError
from tests.pipeline import tiny_models
from tests.training.evaluation.conftest import moving_video
from training.evaluation.backends.judge import ServerJudge
from training.evaluation.backends.looks import CLIP_MEAN, CLIP_STD, ClipFolder, DinoFolder, prepared
from training.evaluation.backends.syncnet import SyncNetSpeech
from training.evaluation.clip import Followed, GeneratedClip
from training.evaluation.config import EvaluationConfig
from training.evaluation.folder import read_evaluation
from training.evaluation.materials import Materials
from training.evaluation.metrics import registry
from training.evaluation.metrics.judge import JudgeScores, about_judge
from training.evaluation.metrics.looks import (
    Aesthetics,
    Subject,
    TextAlignment,
    about_aesthetics,
    about_subject,
    about_text,
)
from training.evaluation.metrics.metric import Missing, NotMeasured
from training.evaluation.metrics.registry import build

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (30, 40, 200), "yellow": (220, 210, 40)}
OWN = {"backend": "test", "weights": "test", "licence": "test"}


def picture(colour: str, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 12, (40, 40, 3))
    return (np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8)


def video(colour: str, seed: int = 50) -> GeneratedClip:
    return GeneratedClip(np.stack([picture(colour, seed + n) for n in range(4)]), 25.0, None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of two layers that was taught four colours, saved as transformers saves it."""
    torch.manual_seed(0)
    words = ["<pad>", "<unk>", "</s>", "a", "picture", "is", *COLOURS]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    layers = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text: dict[str, Any] = {"vocab_size": len(words), "max_position_embeddings": 8, "eos_token_id": 3, **layers}
    # transformers takes an eos of 2 for the first CLIP's files and then pools at the largest id.
    text["eos_token_id"] = 2
    fast_ids = fast(["a picture is red"])["input_ids"][0]
    assert fast_ids[-1] == 2
    config = CLIPConfig(
        text_config=text, vision_config={"image_size": 32, "patch_size": 8, **layers}, projection_dim=16
    )
    model = CLIPModel(config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    tokens = fast([f"a picture is {colour}" for colour in COLOURS], return_tensors="pt")
    for step in range(60):
        shown = prepared([picture(colour, step) for colour in COLOURS], side=32, mean=CLIP_MEAN, std=CLIP_STD)
        loss = model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values=torch.from_numpy(shown),
            return_loss=True,
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dino")
    Dinov2Model(
        Dinov2Config(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    ).save_pretrained(folder)
    return folder


def test_shuffled_texts_lower_clip_t(clip_folder: Path) -> None:
    metric = TextAlignment(ClipFolder(clip_folder), about_text(**OWN))
    names = list(COLOURS)

    def score(shown: str, told: str) -> float:
        return float(metric.measure(video(shown), Materials("c", f"a picture is {told}", (), None))["clip_t"])  # type: ignore[arg-type]

    right = [score(colour, colour) for colour in names]
    shuffled = [score(colour, names[number - 1]) for number, colour in enumerate(names)]
    assert min(right) > max(shuffled) + 0.1


def test_another_subject_lowers_clip_i_and_dino_i(clip_folder: Path, dino_folder: Path) -> None:
    for name, embedder in (("clip_i", ClipFolder(clip_folder)), ("dino_i", DinoFolder(dino_folder))):
        metric = Subject(embedder, about_subject(name, name, **OWN))

        def score(reference: np.ndarray, metric: Subject = metric, name: str = name) -> float:
            return float(metric.measure(video("red"), Materials("c", "x", (reference,), None))[name])  # type: ignore[arg-type]

        assert score(picture("red", 1)) > score(picture("blue", 1)) + 0.01
        assert score(video("red").frames_thwc[0]) <= 1 + 1e-5
        with pytest.raises(NotMeasured, match="no reference"):
            metric.measure(video("red"), Materials("c", "x", (), None))


def test_aesthetics_are_the_mean_score_of_the_frames() -> None:
    class Scorer:
        name = "brightness"

        def pictures(self, frames_hwc: Any) -> np.ndarray:
            return np.stack([frame.mean((0, 1)) for frame in frames_hwc]).astype(np.float32)

        def aesthetic(self, embeddings_nd: np.ndarray) -> np.ndarray:
            return embeddings_nd.sum(axis=1)

    frames = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (1, 2, 6)])
    clip = GeneratedClip(frames, 25.0, None)  # type: ignore[arg-type]
    found = Aesthetics(Scorer(), about_aesthetics(**OWN)).measure(clip, Materials("c", "x", (), None))
    assert found == {"aesthetics": 9}


@pytest.fixture(scope="module")
def syncnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the published layout."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("syncnet")
    torch.save(SyncNet().state_dict(), folder / "syncnet_v2.model")
    return folder


def config_of(**given: Any) -> EvaluationConfig:
    return EvaluationConfig.model_validate(given)


def by_name(config: EvaluationConfig) -> dict[str, Any]:
    """Name of a number -> the metric that gives it."""
    return {about.name: metric for metric in build(config)[0] for about in metric.about}


def about_of(metric: Any, name: str) -> Any:
    return next(about for about in metric.about if about.name == name)


def test_weights_take_the_place_of_null(
    clip_folder: Path, dino_folder: Path, syncnet_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUMO_CACHE", str(tmp_path / "cache"))
    without = by_name(EvaluationConfig())
    missing = {name: metric.cause for name, metric in without.items() if isinstance(metric, Missing)}
    assert sorted(missing) == sorted(
        ["clip_i", "clip_t", "dino_i", "sync_c", "sync_d", "sync_0", "aesthetics", "image_quality"]
        + [f"judge_{name}" for name in ("text", "person", "natural")]
    )
    assert missing["sync_c"] == "the weight syncnet-v2 is missing: humo fetch syncnet-v2"
    assert "--set clip=FOLDER" in missing["clip_t"]
    # SyncNet's publisher states no licence, and that is what is told.
    assert about_of(without["sync_c"], "sync_c").licence.startswith("not stated")
    own = {"syncnet-v2": syncnet_folder, "laion-aesthetic": tiny_models.aesthetic_head(tmp_path / "head")}
    with_all = by_name(config_of(clip=clip_folder, dino=dino_folder, weights={"own": own}))
    gone = {name for name, metric in with_all.items() if isinstance(metric, Missing)}
    assert set(missing) - gone == {"clip_i", "clip_t", "dino_i", "sync_c", "sync_d", "sync_0", "aesthetics"}
    weights = {name: about_of(metric, name).weights for name, metric in with_all.items()}
    assert weights["clip_t"] == weights["clip_i"]
    assert str(weights["clip_t"]).startswith("clip:")
    assert str(weights["dino_i"]).startswith("dinov2:")
    assert str(weights["sync_c"]).startswith("syncnet-v2 ")
    found = with_all["aesthetics"].measure(video("red"), Materials("c", "x", (), None))["aesthetics"]
    assert found != with_all["aesthetics"].measure(video("blue"), Materials("c", "x", (), None))["aesthetics"]


def test_open_clip_measures_three_where_its_weights_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Looks:
        def __init__(self, folder: Path, head: Path, **given: Any) -> None:
            assert (folder, head, given["device"]) == (tmp_path / "clip", tmp_path / "head", "cpu")
            self.name = f"open_clip:{given['version']}"

        def pictures(self, frames_hwc: Any) -> np.ndarray:
            return np.ones((len(frames_hwc), 1), np.float32)

        texts = pictures

        def aesthetic(self, embeddings_nd: np.ndarray) -> np.ndarray:
            return 7 * embeddings_nd[:, 0]

    own = {"open-clip-vit-l-14": tmp_path / "clip", "laion-aesthetic": tmp_path / "head"}
    for folder in own.values():
        folder.mkdir()
    monkeypatch.setattr(registry, "OpenClipLooks", Looks)
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    assert "open_clip is not installed" in by_name(config_of(weights={"own": own}))["clip_t"].cause
    monkeypatch.setattr(registry, "find_spec", lambda _: "there")
    found = by_name(config_of(weights={"own": own}))
    given = Materials("c", "a red thing", (picture("red", 1),), None)
    values = {name: found[name].measure(video("red"), given)[name] for name in ("clip_i", "clip_t", "aesthetics")}
    assert values == {"clip_i": 1, "clip_t": 1, "aesthetics": 7}
    assert about_of(found["clip_t"], "clip_t").backend == "CLIP by open_clip"
    assert about_of(found["aesthetics"], "aesthetics").backend.startswith("LAION head on open_clip:")


def test_weights_that_are_named_and_wrong_end_the_evaluation(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds not a CLIP model"):
        build(EvaluationConfig(clip=tmp_path))
    with pytest.raises(UserError, match="there is no folder"):
        build(config_of(weights={"own": {"syncnet-v2": tmp_path / "nowhere"}}))
    with pytest.raises(UserError, match=r"there is no file .*syncnet_v2\.model"):
        build(config_of(weights={"own": {"syncnet-v2": tmp_path}}))
    # A head of other embeddings is no score of these, and says so.
    wide = tiny_models.aesthetic_head(tmp_path / "wide", width=24)
    metric = by_name(config_of(clip=clip_folder, weights={"own": {"laion-aesthetic": wide}}))["aesthetics"]
    with pytest.raises(NotMeasured, match="reads embeddings of 24 numbers, .* gives 16"):
        metric.measure(video("red"), Materials("c", "x", (), None))


def test_syncnet_sees_the_face_and_hears_the_sound_of_each_moment(syncnet_folder: Path) -> None:
    syncnet = SyncNetSpeech(syncnet_folder / "syncnet_v2.model", device="cpu")
    noise = np.random.default_rng(0)
    frames = noise.integers(0, 255, (9, 48, 64, 3), np.uint8)
    speech = (0.1 * noise.standard_normal(9 * 640)).astype(np.float32)

    def embedded(frames: np.ndarray, fps: float, speech: np.ndarray, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
        clip = GeneratedClip(frames, fps, None)  # type: ignore[arg-type]
        boxes = dict.fromkeys(range(first, len(frames)), (0.3, 0.2, 0.6, 0.7))
        clip.__dict__["faces"] = Followed(largest={}, main=boxes, mouth_t=np.zeros(len(frames)))
        return syncnet.embed(clip, speech)

    mouth, voice = embedded(frames, 25.0, speech)
    assert mouth.shape == voice.shape == (5, 1024)
    # Twice the frame rate shows the same at the same moments.
    twice, _ = embedded(frames.repeat(2, axis=0), 50.0, speech)
    np.testing.assert_allclose(twice, mouth, atol=1e-4)
    # A face that is seen from the third frame on stands beside the sound from there on.
    later_mouth, later_voice = embedded(frames, 25.0, speech, first=2)
    np.testing.assert_allclose(later_mouth, mouth[2:], atol=1e-4)
    np.testing.assert_allclose(later_voice, voice[2:], atol=1e-4)
    assert np.abs(voice[1:] - voice[:-1]).max() > 1e-3
    with pytest.raises(NotMeasured, match="no face is found"):
        embedded(frames, 25.0, speech, first=9)
    with pytest.raises(NotMeasured, match="seen in 3 frames"):
        embedded(frames, 25.0, speech, first=6)


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]], Callable[[int, str], None]]]:
    """Address, requests that came, and a way to say what it answers."""
    asked: list[dict[str, Any]] = []
    answer = [200, "{}"]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(
                {
                    "path": self.path,
                    "key": self.headers["Authorization"],
                    **json.loads(self.rfile.read(int(self.headers["Content-Length"]))),
                }
            )
            content = json.dumps({"choices": [{"message": {"content": answer[1]}}]}).encode()
            self.send_response(int(answer[0]))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            return

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()

    def say(status: int, text: str) -> None:
        answer[:] = [status, text]

    yield f"http://127.0.0.1:{made.server_port}/v1", asked, say
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_judge_is_asked_by_the_rubric_and_held_to_it(server: Any) -> None:
    url, asked, say = server
    judge = ServerJudge(url=url, model="eyes", key="secret", seconds=10)
    metric = JudgeScores(judge, about_judge(backend=judge.name, weights="eyes", licence="test"))
    materials = Materials("c", "a red {thing}", (picture("red", 1),), None)
    say(200, 'Here: {"text": 4, "person": 5, "natural": 2}')
    assert metric.measure(video("red"), materials) == {"judge_text": 4, "judge_person": 5, "judge_natural": 2}
    content = asked[0]["messages"][0]["content"]
    assert [part["type"] for part in content] == ["image_url"] * 5 + ["text"]
    assert "a red {thing}" in content[-1]["text"]
    assert "1 reference picture(s)" in content[-1]["text"]
    assert (asked[0]["path"], asked[0]["key"], asked[0]["temperature"]) == ("/v1/chat/completions", "Bearer secret", 0)
    say(200, '{"text": 9, "person": true, "natural": 2}')
    values = metric.measure(video("red"), materials)
    assert values["judge_natural"] == 2
    assert "rubric" in str(values["judge_text"])
    assert "rubric" in str(values["judge_person"])
    for status, text, reason in ((200, "lovely", "rubric"), (500, "", "status 500"), (302, "", "status 302")):
        say(status, text)
        with pytest.raises(NotMeasured, match=reason):
            metric.measure(video("red"), materials)


def test_a_judge_that_was_away_is_asked_again_by_the_same_command(server: Any, tmp_path: Path) -> None:
    url, asked, say = server
    moving_video(tmp_path / "videos" / "a.mp4", seed=1)
    (tmp_path / "cases.json").write_text(json.dumps({"a": {"prompt": "a patch moves"}}))
    command = [
        "evaluate", "--videos", str(tmp_path / "videos"), "--cases", str(tmp_path / "cases.json"),
        "--out", str(tmp_path / "eval"), "--set", f"judge.url={url}", "--set", "judge.model=eyes",
    ]  # fmt: skip

    def row() -> Any:
        assert run(command) == 0
        return read_evaluation(tmp_path / "eval").rows["a"]

    say(503, "")
    away = row()
    assert (away.values["judge_text"], away.causes["judge_text"]) == (None, "the judge answers with status 503")
    say(200, "I would rather not.")
    refused = row()
    assert "does not keep to the rubric" in refused.causes["judge_text"]
    # That was an answer: it is not asked until one pleases.
    say(200, '{"text": 4, "person": null, "natural": 2}')
    assert row() == refused
    assert len(asked) == 2
    (tmp_path / "eval" / "rows" / "a.json").unlink()
    assert row().values["judge_text"] == 4


def test_a_judge_that_is_not_there_is_a_cause() -> None:
    judge = ServerJudge(url="http://127.0.0.1:9/v1", model="eyes", key=None, seconds=5)
    with pytest.raises(NotMeasured, match="not reached"):
        JudgeScores(judge, about_judge(**OWN)).measure(video("red"), Materials("c", "x", (), None))
