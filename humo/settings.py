"""What a model directory says about itself in `model_index.json`: its encoders, its guidance, its defaults."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from humo.guidance import Guidance, official_1_7b, official_17b, paper


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
    guidance: GuidanceSettings

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
