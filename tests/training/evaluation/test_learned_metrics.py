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

from schemas.errors import UserError
from training.evaluation.backends.judge import ServerJudge
from training.evaluation.backends.looks import CLIP_MEAN, CLIP_STD, ClipFolder, DinoFolder, prepared
from training.evaluation.clip import GeneratedClip
from training.evaluation.config import EvaluationConfig
from training.evaluation.materials import Materials
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


def test_configured_weights_take_the_place_of_null(clip_folder: Path, dino_folder: Path, tmp_path: Path) -> None:
    metrics, _ = build(EvaluationConfig(clip=clip_folder, dino=dino_folder))
    about = {one.name: one for metric in metrics if not isinstance(metric, Missing) for one in metric.about}
    assert about["clip_t"].weights == about["clip_i"].weights
    assert str(about["clip_t"].weights).startswith("clip:")
    assert str(about["dino_i"].weights).startswith("dinov2:")
    with pytest.raises(UserError, match="holds not a CLIP model"):
        build(EvaluationConfig(clip=tmp_path))


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


def test_a_judge_that_is_not_there_is_a_cause() -> None:
    judge = ServerJudge(url="http://127.0.0.1:9/v1", model="eyes", key=None, seconds=5)
    with pytest.raises(NotMeasured, match="not reached"):
        JudgeScores(judge, about_judge(**OWN)).measure(video("red"), Materials("c", "x", (), None))
