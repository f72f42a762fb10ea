"""Options of the stage `vocals`, and the version of its code."""

from typing import Literal

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 1


class VocalsConfig(Configuration):
    """Whether the voice is separated from music and noise."""

    backend: Literal["none", "demucs"] = Field(
        default="none",
        description="none: nothing is separated; demucs: HT Demucs, whose stem is packed as KEY.vocals.flac beside "
        "KEY.flac. A clip without a stem is packed without: the rule vocals.share >= 0 keeps it out",
    )
