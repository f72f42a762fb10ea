"""Thresholds, as rules over the columns of the clip-level tables."""

from pydantic import Field, model_validator

from schemas.configuration import Configuration

SUBJECT_RULES = (
    "quality.sharpness >= 0.4",
    "quality.luma between 0.04 and 0.92",
    "faces.subjects between 1 and 3",
    "references.count >= 1",
    "captions.word_count >= 8",
)
SYNC_RULES = (
    "references.speaker_count >= 1",
    "speech.ratio >= 0.5",
    "sync.p_value <= 0.005",
    "abs(sync.offset_frames) <= 3",
)


BOUNDS = {
    # Grey face crops hardly see the look, so that only frames of one and the same picture come this close.
    "classical": (0.85, 0.985),
    "sface": (0.363, 0.92),
    "arcface": (0.45, 0.92),
}
"""Descriptor -> lower and upper bound of similarity where the configuration gives none: scales differ."""


class ReferenceBounds(Configuration):
    """Which reference candidates may be packed. Similarity is the cosine of the identity descriptor in force."""

    lower: float | None = Field(
        default=None, ge=-1, le=1, description="Below it the person may be somebody else; by descriptor where not given"
    )
    upper: float | None = Field(
        default=None, ge=-1, le=1, description="Above it the picture is a copy; by descriptor where not given"
    )
    size: float = Field(default=0.1, ge=0, le=1, description="Least face height over its frame's height")
    sharpness: float = Field(
        default=0.15, ge=0, le=1, description="Least sharpness of the candidate's face, 0 (blurred) to 1; 0: any"
    )
    limit: int = Field(default=1, ge=1, le=4, description="References packed with a clip, best first")

    @model_validator(mode="after")
    def _ordered(self) -> "ReferenceBounds":
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError("lower must not be above upper")
        return self

    def similarity(self, descriptor: str) -> tuple[float, float]:
        """Lower and upper bound in force for a descriptor."""
        lower, upper = BOUNDS[descriptor]
        return (lower if self.lower is None else self.lower, upper if self.upper is None else self.upper)


class Caps(Configuration):
    """How many clips of one kind are kept, so that no face and no film fills the set."""

    source: int | None = Field(default=None, ge=1, description="Kept clips of a source at most")
    identity: int | None = Field(default=None, ge=1, description="Kept clips that show an identity at most")


class DecideConfig(Configuration):
    """What is kept. A rule compares clip-level columns; one with a NULL in it is unknown, and unknown is not kept."""

    subject: tuple[str, ...] = Field(default=SUBJECT_RULES, description="Rules of the subject tier")
    sync: tuple[str, ...] = Field(default=SYNC_RULES, description="Rules of the sync tier, on top of the subject rules")
    references: ReferenceBounds = ReferenceBounds()
    caps: Caps = Caps()
    val_fraction: float = Field(
        default=0.05, ge=0, lt=1, description="Share of the components (identity, source, duplicates) for validation"
    )
