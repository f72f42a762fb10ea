"""Options of the stage `duplicates`, and the version of its code."""

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 4


class DuplicatesConfig(Configuration):
    """What counts as the same footage, and where it may have been seen before."""

    distance: float = Field(
        default=0.3, gt=0, lt=1, description="Clips whose signatures are closer than this are copies (0: the same)"
    )
    against: tuple[str, ...] = Field(
        default=(), description="Run folders: what they keep is not kept here again, however good the copy is"
    )
