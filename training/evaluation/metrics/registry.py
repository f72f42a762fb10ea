"""All metrics, in the order of the tables: with their backends where these can run, and named as missing where not."""

import os
from importlib.util import find_spec
from pathlib import Path

from pipeline.backends.face_follower import Pace
from pipeline.backends.open_clip_looks import HEAD_FILE, OpenClipLooks
from pipeline.stages.faces import FacesStage
from pipeline.weights.content import content_of
from pipeline.weights.locate import Weights
from pipeline.weights.table import weight_named
from schemas.errors import UserError
from training.evaluation.backends.judge import ServerJudge
from training.evaluation.backends.looks import AestheticClip, ClipFolder, DinoFolder, PictureTextEmbedder, WidthDiffers
from training.evaluation.backends.syncnet import SyncNetSpeech
from training.evaluation.clip import Faces
from training.evaluation.config import EvaluationConfig
from training.evaluation.metrics.copy_paste import CopyPaste
from training.evaluation.metrics.identity import Identity
from training.evaluation.metrics.judge import JudgeScores, about_judge
from training.evaluation.metrics.lip_motion import LipMotion
from training.evaluation.metrics.looks import (
    Aesthetics,
    Subject,
    TextAlignment,
    about_aesthetics,
    about_subject,
    about_text,
)
from training.evaluation.metrics.metric import About, Metric, Missing
from training.evaluation.metrics.motion import Flicker, Motion
from training.evaluation.metrics.sharpness import Sharpness
from training.evaluation.metrics.sync import Sync, about_sync

KEY_VARIABLE = "HUMO_JUDGE_KEY"
SYNCNET, OPEN_CLIP, LAION = "syncnet-v2", "open-clip-vit-l-14", "laion-aesthetic"
FACE_LICENCES = {
    "classical": "Apache-2.0",
    "sface": "Apache-2.0",
    "arcface": "insightface models: non-commercial research",
}
"""Of the descriptors' weights, or code."""


def build(config: EvaluationConfig) -> tuple[list[Metric], Faces]:
    """Load what the configuration names. Raises UserError for weights that are not what they should be."""
    weights = Weights(config.weights.own)
    stage = FacesStage(config.faces, weights=weights, device=config.device)
    stage.check()
    name = config.faces.descriptor
    identity = Identity(
        stage.descriptor,
        backend=stage.backend,
        weights=None if name == "classical" else stage.descriptor.name,
        licence=FACE_LICENCES[name],
    )
    clip_i, clip_t, aesthetics = _looks(config, weights)
    metrics: list[Metric] = [
        identity,
        clip_i,
        clip_t,
        _dino(config),
        _sync(config, weights),
        LipMotion(),
        aesthetics,
        Missing((IMAGE_QUALITY,), "no image quality model can be configured yet"),
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


def _looks(config: EvaluationConfig, weights: Weights) -> tuple[Metric, Metric, Metric]:
    """CLIP-I, CLIP-T and aesthetics: by the CLIP that is configured, else by open_clip where its weights are there."""
    head, fetched = _there(weights, LAION), _there(weights, OPEN_CLIP)
    model: PictureTextEmbedder
    if config.clip is not None:
        model = ClipFolder(config.clip, device=config.device)
        own = {"backend": "CLIP by transformers", "weights": model.name, "licence": config.clip_licence}
        return *_by_clip(model, own), _aesthetics(model, head, config.device)
    if isinstance(head, str) or isinstance(fetched, str) or find_spec("open_clip") is None:
        cause = next((found for found in (fetched, head) if isinstance(found, str)), "open_clip is not installed")
        missing = {"backend": "CLIP", "weights": "CLIP", "licence": config.clip_licence}
        told = f"no CLIP weights are configured: --set clip=FOLDER ({cause})"
        return (
            Missing((about_subject("clip_i", "CLIP-I", **missing),), told),
            Missing((about_text(**missing),), told),
            Missing((_about_aesthetics("CLIP ViT-L/14", None),), told),
        )
    version = _version(OPEN_CLIP, fetched)
    looks = OpenClipLooks(fetched, head, version=version, device=config.device, batch=64)
    own = {"backend": "CLIP by open_clip", "weights": version, "licence": _licence(OPEN_CLIP)}
    return *_by_clip(looks, own), Aesthetics(looks, _about_aesthetics(looks.name, _version(LAION, head)))


def _by_clip(model: PictureTextEmbedder, own: dict[str, str]) -> tuple[Metric, Metric]:
    return Subject(model, about_subject("clip_i", "CLIP-I", **own)), TextAlignment(model, about_text(**own))


def _aesthetics(model: PictureTextEmbedder, head: Path | str, device: str) -> Metric:
    if isinstance(head, str):
        return Missing((_about_aesthetics(model.name, None),), head)
    about = _about_aesthetics(model.name, _version(LAION, head))
    try:
        return Aesthetics(AestheticClip(model, head / HEAD_FILE, device=device), about)
    except WidthDiffers as error:
        return Missing((about,), str(error))


def _about_aesthetics(model: str, weights: str | None) -> About:
    return about_aesthetics(backend=f"LAION head on {model}", weights=weights or LAION, licence=_licence(LAION))


def _sync(config: EvaluationConfig, weights: Weights) -> Metric:
    found = _there(weights, SYNCNET)
    licence = _licence(SYNCNET)
    if isinstance(found, str):
        return Missing(about_sync(backend="SyncNet", weights=SYNCNET, licence=licence), found)
    model = SyncNetSpeech(found / "syncnet_v2.model", device=config.device)
    return Sync(model, about_sync(backend=model.name, weights=_version(SYNCNET, found), licence=licence))


def _there(weights: Weights, name: str) -> Path | str:
    """The folder of a weight, or why it is not there. Raises UserError where the user named a folder that is not."""
    try:
        return weights.find(name).folder
    except UserError as error:
        if weights.own(name) is not None:
            raise
        return str(error)


def _version(name: str, folder: Path) -> str:
    """Tells weights apart by their content, also where they are the user's own."""
    return f"{name} {content_of(folder)[:8]}"


def _licence(name: str) -> str:
    weight = weight_named(name)
    return f"{weight.licence}; {weight.licence_note}" if weight.licence_note else weight.licence


def _dino(config: EvaluationConfig) -> Metric:
    own = {"backend": "DINOv2 by transformers", "licence": config.dino_licence}
    if config.dino is None:
        about = about_subject("dino_i", "DINO-I", weights="DINOv2", **own)
        return Missing((about,), "no DINOv2 weights are configured: --set dino=FOLDER")
    model = DinoFolder(config.dino, device=config.device)
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
