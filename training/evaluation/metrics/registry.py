"""All metrics, in the order of the tables: with their backends where these can run, and named as missing where not."""

import os
from collections.abc import Callable
from typing import Any

from pipeline.backends.face_follower import Pace
from pipeline.stages.faces import FacesStage
from training.evaluation.backends.judge import ServerJudge
from training.evaluation.backends.looks import ClipFolder, DinoFolder
from training.evaluation.clip import Faces
from training.evaluation.config import EvaluationConfig
from training.evaluation.metrics.copy_paste import CopyPaste
from training.evaluation.metrics.identity import Identity
from training.evaluation.metrics.judge import JudgeScores, about_judge
from training.evaluation.metrics.lip_motion import LipMotion
from training.evaluation.metrics.looks import Subject, TextAlignment, about_aesthetics, about_subject, about_text
from training.evaluation.metrics.metric import About, Metric, Missing
from training.evaluation.metrics.motion import Flicker, Motion
from training.evaluation.metrics.sharpness import Sharpness
from training.evaluation.metrics.sync import about_sync

KEY_VARIABLE = "HUMO_JUDGE_KEY"
FACE_LICENCES = {
    "classical": "Apache-2.0",
    "sface": "Apache-2.0",
    "arcface": "insightface models: non-commercial research",
}
"""Of the descriptors' weights, or code."""


def build(config: EvaluationConfig) -> tuple[list[Metric], Faces]:
    """Load what the configuration names. Raises UserError for weights that are not what they should be."""
    stage = FacesStage(config.faces)
    stage.check()
    name = config.faces.descriptor
    identity = Identity(
        stage.descriptor,
        backend=stage.backend,
        weights=None if name == "classical" else stage.descriptor.name,
        licence=FACE_LICENCES[name],
    )
    metrics: list[Metric] = [
        identity,
        *_clip(config),
        _dino(config),
        Missing(about_sync(backend="SyncNet", weights="SyncNet", licence="MIT"), "no SyncNet weights are configured"),
        LipMotion(),
        Missing(
            (about_aesthetics(backend="LAION head on CLIP ViT-L/14", weights="LAION", licence="Apache-2.0"),),
            "no weights of the aesthetic head are configured",
        ),
        Missing((IMAGE_QUALITY,), "no weights of an image quality model are configured"),
        Sharpness(),
        Motion(),
        Flicker(),
        CopyPaste(),
        _judge(config),
    ]
    pace = Pace(
        look_every=config.faces.look_every, scan_every=config.faces.scan_every, longest_gap=config.faces.longest_gap
    )
    return metrics, Faces(stage.detector, pace)


IMAGE_QUALITY = About(
    name="image_quality",
    title="Image quality",
    unit="score, 0 to 1",
    better="higher",
    backend="MUSIQ",
    weights="MUSIQ",
    licence="as the model's",
    says="a learned score of blur, noise and compression; what is measured without one is sharpness",
)


def all_about(config: EvaluationConfig) -> list[About]:
    """What every metric of a configuration is, in the order of the tables."""
    return [about for metric in build(config)[0] for about in metric.about]


def _clip(config: EvaluationConfig) -> list[Metric]:
    titles: list[tuple[Callable[..., Any], Callable[[Any, About], Metric]]] = [
        (lambda **own: about_subject("clip_i", "CLIP-I", **own), Subject),
        (about_text, TextAlignment),
    ]
    if config.clip is None:
        missing = {"backend": "CLIP", "weights": "CLIP", "licence": config.clip_licence}
        return [
            Missing((about(**missing),), "no CLIP weights are configured: --set clip=FOLDER") for about, _ in titles
        ]
    model = ClipFolder(config.clip)
    own = {"backend": "CLIP by transformers", "weights": model.name, "licence": config.clip_licence}
    return [kind(model, about(**own)) for about, kind in titles]


def _dino(config: EvaluationConfig) -> Metric:
    own = {"backend": "DINOv2 by transformers", "licence": config.dino_licence}
    if config.dino is None:
        about = about_subject("dino_i", "DINO-I", weights="DINOv2", **own)
        return Missing((about,), "no DINOv2 weights are configured: --set dino=FOLDER")
    model = DinoFolder(config.dino)
    return Subject(model, about_subject("dino_i", "DINO-I", weights=model.name, **own))


def _judge(config: EvaluationConfig) -> Metric:
    wanted = config.judge
    if wanted is None:
        about = about_judge(
            backend="OpenAI-compatible server", weights="a vision-language model", licence="the model's"
        )
        return Missing(about, "no judge is configured: --set judge.url=... --set judge.model=...")
    judge = ServerJudge(url=wanted.url, model=wanted.model, key=os.environ.get(KEY_VARIABLE), seconds=wanted.seconds)
    about = about_judge(backend=judge.name, weights=wanted.model, licence=wanted.licence)
    return JudgeScores(judge, about)
