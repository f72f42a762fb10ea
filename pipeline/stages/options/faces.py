"""Options of the stage `faces`, and the version of its code."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 3


class FacesConfig(Configuration):
    """How faces are found, followed and described. Which of them are good enough is decided later."""

    detector: Literal["haar", "yunet", "insightface"] = Field(
        default="haar",
        description="haar: OpenCV's cascade, frontal faces only; yunet: OpenCV's FaceDetectorYN, needs yunet_model; "
        "insightface: SCRFD",
    )
    yunet_model: Path | None = Field(default=None, description="ONNX file of FaceDetectorYN")
    descriptor: Literal["classical", "sface", "arcface"] = Field(
        default="classical",
        description="classical: gradients and patterns, weak; sface: OpenCV's FaceRecognizerSF, needs sface_model; "
        "arcface: insightface's; the last two need a detector with landmarks (yunet, insightface)",
    )
    sface_model: Path | None = Field(default=None, description="ONNX file of FaceRecognizerSF")
    look_every: int = Field(default=4, ge=1, description="Frames from one look at the known faces to the next")
    scan_every: int = Field(
        default=32,
        ge=1,
        description="Frames from one search of the whole picture to the next; a multiple of look_every",
    )
    scan_pixels: int = Field(
        default=90_000, ge=4_000, description="The whole picture is scaled down to so many pixels before it is searched"
    )
    smallest: float = Field(default=0.08, gt=0, lt=1, description="Least face height over the frame's height")
    longest_gap: int = Field(default=25, ge=1, description="Frames that a face may be lost and still be the same track")
    fewest_looks: int = Field(default=3, ge=1, description="Tracks found in fewer looks are dropped as false alarms")
    detected_share: float = Field(
        default=0.5, ge=0, le=1, description="Tracks found in less than this share of their looks are dropped"
    )
    describe_every: int = Field(default=12, ge=1, description="Frames from one identity description to the next")
