"""Options of the stage `clips`, and the version of its code."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from schemas.configuration import Configuration

VERSION = 4


Aspect = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,2}:[1-9][0-9]{0,2}$")]
"""Width to height."""


class ClipsConfig(Configuration):
    """How shots become clips."""

    frames: int = Field(default=97, ge=5, description="Frames of a clip at 25 fps; 4n+1, which the VAE needs")
    min_frames: int = Field(
        default=49, ge=5, description="What is left of a shot gives a shorter clip of at least so many frames; 4n+1"
    )
    margin_s: float = Field(default=0.04, ge=0, description="Left out beside a cut, a fade or a dissolve")
    short_side: int = Field(default=480, ge=16, description="Largest short side in pixels; smaller sources stay small")
    aspects: tuple[Aspect, ...] = Field(
        default=(), description='Shapes clips are cut to, as "16:9": the nearest one; the picture\'s own without any'
    )
    crf: int = Field(default=17, ge=0, le=51, description="x264's constant quality; 17 is next to lossless to the eye")
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = Field(
        default="veryfast", description="x264's preset: time against size"
    )

    @model_validator(mode="after")
    def _sizes(self) -> "ClipsConfig":
        if self.frames % 4 != 1 or self.min_frames % 4 != 1:
            raise ValueError("frames and min_frames must be 4n+1")
        if self.min_frames > self.frames:
            raise ValueError("min_frames must not be above frames")
        return self
