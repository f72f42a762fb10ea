"""What a model directory says about itself in `model_index.json`: its encoders, its guidance, its defaults."""

from pathlib import Path
from typing import Annotated, Literal

import numpy
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from humo.guidance import Contrast, Formula, Guidance, Mode, Pass, Scale, official_1_7b, official_17b, paper
from schemas.errors import UserError


class GuidanceSettings(BaseModel):
    """A guidance by the name of its formula and its fixed scales; see `humo.guidance`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["official_17b", "official_1_7b", "paper"]
    """Which chain of passes."""
    text: float
    """Scale of what the text adds; 1 asks for no more than the model itself gives."""
    image: float = 1.0
    """Scale of what the references add; the form official_17b has no such scale."""
    audio: float
    """Scale of what the speech adds."""

    def guidance(self) -> Guidance:
        """The guidance object."""
        if self.form == "official_17b":
            return official_17b(text=self.text, audio=self.audio)
        if self.form == "official_1_7b":
            return official_1_7b(text=self.text, image=self.image, audio=self.audio)
        return paper(text=self.text, image=self.image, audio=self.audio)


class OwnContrast(BaseModel):
    """See `humo.guidance.Contrast`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    towards: Pass
    away: Pass
    scale: float | list[tuple[float, float]]
    """Fixed, or points (timestep, scale), between which it is interpolated and beyond which it stays."""


class OwnFormula(BaseModel):
    """See `humo.guidance.Formula`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contrasts: list[OwnContrast]
    base: Pass = "0"
    above: float = float("-inf")
    """Counts for timesteps above this; a mode's last formula leaves it out."""


class OwnGuidance(BaseModel):
    """A guidance written out: for each mode its formulas, the highest `above` first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["own"]
    modes: dict[Mode, list[OwnFormula]]

    @field_validator("modes")
    @classmethod
    def _complete(cls, modes: dict[Mode, list[OwnFormula]]) -> dict[Mode, list[OwnFormula]]:
        for mode, formulas in modes.items():
            bounds = [formula.above for formula in formulas]
            if not bounds or bounds[-1] != float("-inf") or bounds != sorted(bounds, reverse=True):
                raise ValueError(f"the formulas of {mode} must fall in `above`, and the last must leave it out")
            unsorted = [c.scale for f in formulas for c in f.contrasts if isinstance(c.scale, list)]
            if any(not points for points in unsorted):
                raise ValueError(f"a scale of {mode} has no points")
        return modes

    def guidance(self) -> Guidance:
        """The guidance object."""
        return Guidance(
            {
                mode: tuple(
                    Formula(
                        contrasts=tuple(Contrast(_scale(c.scale), c.towards, c.away) for c in formula.contrasts),
                        base=formula.base,
                        above=formula.above,
                    )
                    for formula in formulas
                )
                for mode, formulas in self.modes.items()
            }
        )


def _scale(scale: float | list[tuple[float, float]]) -> Scale:
    if not isinstance(scale, list):
        return scale
    timesteps, scales = zip(*sorted(scale), strict=True)
    return lambda timestep: float(numpy.interp(timestep, timesteps, scales))


AnyGuidance = Annotated[GuidanceSettings | OwnGuidance, Field(discriminator="form")]


def read_guidance(path: Path) -> Guidance:
    """The guidance of a JSON file: `GuidanceSettings` or `OwnGuidance`. Raises UserError for any other file."""
    try:
        read: GuidanceSettings | OwnGuidance = TypeAdapter(AnyGuidance).validate_json(path.read_bytes())
    except OSError:
        raise UserError(f"the guidance file {path} does not exist") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return read.guidance()


class GenerationDefaults(BaseModel):
    """What `humo generate` uses where the user says nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: int = Field(ge=16, multiple_of=16)
    """Pixels."""
    width: int = Field(ge=16, multiple_of=16)
    """Pixels."""
    frames: int = Field(ge=1)
    """4n+1, at 25 a second."""
    steps: int = Field(ge=1)
    """Sampling steps."""
    negative_text: str
    """What the passes without the user's text get."""
    guidance: AnyGuidance
    """How the passes are mixed."""

    @field_validator("frames")
    @classmethod
    def _four_and_one(cls, frames: int) -> int:
        if frames % 4 != 1:
            raise ValueError(f"{frames} is not 4n+1")
        return frames


class ModelIndex(BaseModel):
    """The content of `model_index.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: Literal["humo.model/1"] = Field(default="humo.model/1", alias="schema")
    text_encoder: str
    """Class of the folder text_encoder/; one of the known ones, never imported by name."""
    audio_encoder: str
    """Class of the folder audio_encoder/."""
    vae: str
    """Class of the folder vae/."""
    defaults: GenerationDefaults
