"""Options of the stage `frames`, and the version of its code."""

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 1


class FramesConfig(Configuration):
    """Which frames are kept for models."""

    count: int = Field(default=0, ge=0, le=32, description="Frames of a clip, evenly spread; 0 keeps none")
    longest_side: int = Field(default=768, ge=64, le=1920, description="Larger frames are scaled down to it, in pixels")
