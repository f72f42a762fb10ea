"""Options of the stage `sync`, and the version of its code."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 3


class SyncConfig(Configuration):
    """How sync is measured. What counts as in step is decided later."""

    backend: Literal["mouth", "syncnet"] = Field(
        default="mouth",
        description="mouth: mouth motion against speech; syncnet: the network, from the pixels, decoded once more. "
        "Their confidences do not compare: rules are given for one of them",
    )
    syncnet: Path | None = Field(default=None, description="File of SyncNet's published weights")
    device: str = Field(default="cpu", description="Where SyncNet runs: cpu, cuda, cuda:1 ...")
    voice_over_p: float = Field(
        default=0.05, gt=0, lt=1, description="Speech is called voice-over where no face is in step below this p-value"
    )
