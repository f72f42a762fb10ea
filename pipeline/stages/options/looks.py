"""Options of the stage `looks`, and the version of its code."""

from typing import ClassVar, Literal

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 1


class LooksConfig(Configuration):
    """How looks are measured. What is pleasing enough is decided later."""

    WHERE: ClassVar = frozenset({"batch"})
    """Options that change no result."""

    backend: Literal["none", "open_clip"] = Field(
        default="none", description="none: nothing is measured; open_clip: ViT-L/14 and LAION's aesthetic head"
    )
    batch: int = Field(default=64, ge=1, description="Pictures or texts at a time")
