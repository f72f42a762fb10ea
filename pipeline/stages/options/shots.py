"""Options of the stage `shots`, and the version of its code."""

from typing import Literal

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 4


class ShotsConfig(Configuration):
    """How sensitive the detectors are. Differences are in levels of 8-bit pixels (0..255)."""

    backend: Literal["scenedetect", "transnetv2"] = Field(
        default="scenedetect",
        description="scenedetect: PySceneDetect and measured dissolves; transnetv2: TransNet V2 joins in",
    )
    transnetv2_threshold: float = Field(
        default=0.5, gt=0, lt=1, description="transnetv2: chance above which a picture ends a shot"
    )
    content_threshold: float = Field(
        default=27.0, gt=0, description="PySceneDetect's content detector: mean change of hue, saturation, brightness"
    )
    adaptive_ratio: float = Field(
        default=3.0, gt=1, description="PySceneDetect's adaptive detector: change over that of the pictures around"
    )
    cut_spread: float = Field(
        default=0.3, ge=0, le=1, description="Share of the picture that must change; less is an object, not a cut"
    )
    cut_prominence: float = Field(
        default=2.0, ge=1, description="Change over the median of the four pictures on either side; less is motion"
    )
    flash_s: float = Field(
        default=0.13, ge=0, le=0.5, description="A picture that comes back within this time was hidden by a flash"
    )
    line_residual: float = Field(
        default=0.15, gt=0, lt=1, description="Greatest distance of a dissolve's pictures from the mix of its two ends"
    )
    likeness: float = Field(
        default=0.5, gt=0, lt=1, description="Greatest correlation between the two ends; above it is one shot moving"
    )
    longest_gap_s: float = Field(default=0.5, gt=0, description="A longer stretch without a new picture ends the shot")
    damaged: float = Field(
        default=0.2, ge=0, le=1, description="Share of lost and damaged pictures above which a source has failed"
    )
