"""What measures, and how videos are made for it."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.config import WeightsConfig
from pipeline.stages.options.faces import FacesConfig
from schemas.configuration import Configuration


class JudgeServer(Configuration):
    """A server that speaks OpenAI's chat completions. Its key is read from the variable HUMO_JUDGE_KEY."""

    url: str
    """Up to and with `/v1`."""
    model: str
    """As the server names it."""
    seconds: float = Field(default=120, gt=0)
    """That an answer may take."""
    licence: str = "as the model's"
    """What binds the use of its scores; told beside them."""


class EvaluationConfig(Configuration):
    """Everything that a number depends on besides the videos and the cases."""

    faces: FacesConfig = FacesConfig()
    """The detector and the descriptor of faces, as in a curation."""
    weights: WeightsConfig = WeightsConfig()
    """Where the weights lie that `humo doctor` lists. Of these `syncnet-v2` gives Sync-C and Sync-D, `laion-aesthetic`
    the aesthetic score; what is not there is not measured."""
    device: Literal["cpu", "cuda"] = "cpu"
    """What the measuring models run on."""
    clip: Path | None = None
    """A CLIP in transformers' layout, for CLIP-I and CLIP-T, and for the aesthetic score if it is OpenAI's ViT-L/14.
    Without it all three are by open_clip where `open-clip-vit-l-14` and `laion-aesthetic` are there."""
    clip_licence: str = "as the model's"
    """Told beside its numbers."""
    dino: Path | None = None
    """A DINOv2 in transformers' layout, for DINO-I."""
    dino_licence: str = "Apache-2.0"
    """Told beside its numbers."""
    judge: JudgeServer | None = None
    """Scores by a vision-language model."""
