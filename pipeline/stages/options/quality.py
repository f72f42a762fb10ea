"""Options of the stage `quality`, and the version of its code."""

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 6


class QualityConfig(Configuration):
    """How often the costlier measurements look. Motion looks at every frame."""

    every: int = Field(default=4, ge=1, description="Frames from one measurement of sharpness and light to the next")
