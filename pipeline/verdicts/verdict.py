"""A verdict as it enters: from a reviewer's browser, or from a file of the journal."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Kind = Literal[
    "accept", "reject", "fix_caption", "bad_reference", "bad_sync", "undo", "merge", "split", "audit"
]  # fmt: skip
OF_CLIPS = ("accept", "reject", "fix_caption", "bad_reference", "bad_sync")
"""Kinds that speak of one clip."""
OF_PEOPLE = ("merge", "split")
"""Kinds that say who is who."""

ID = r"^[0-9a-f]{32}$"
SHA256 = r"^[0-9a-f]{64}$"
# Microseconds and numbers as the run writes them: whatever is longer is no number that a column could hold.
CLIP = r"^[0-9a-f]{16}_[0-9]{1,18}_[0-9]{1,18}$"
TRACK = CLIP.removesuffix("$") + r"_t[0-9]{1,9}$"
# Characters that no line of text needs, and with which a terminal or a table could be misled.
TEXT = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"

NEEDED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(OF_CLIPS, ("clip_id", "media_sha256")),
    "bad_reference": ("clip_id", "media_sha256", "reference"),
    "undo": ("undoes",),
    "merge": ("tracks", "seen"),
    "split": ("tracks", "seen"),
    "audit": ("details",),
}
OPTIONAL: dict[str, tuple[str, ...]] = {"fix_caption": ("caption", "audit"), **dict.fromkeys(OF_CLIPS[:2], ("audit",))}
OPTIONAL |= {"bad_reference": ("audit",), "bad_sync": ("audit",)}
SPECIFIC = ("clip_id", "media_sha256", "caption", "reference", "undoes", "audit", "tracks", "seen", "details")

Population = Literal["sync", "subject", "kept", "rejected", "unknown"]


class Sample(BaseModel):
    """What an audit drew: a verdict's `details`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    population: Population
    half_width: float = Field(gt=0, le=0.5, description="Wanted precision of the share: plus or minus so much")
    expected: float = Field(gt=0, lt=1, description="The share that is likely right; 0.5 is the safest guess")
    of: int = Field(ge=1, description="Clips of the population when it was drawn")
    snapshot: int = Field(ge=0, description="The commit that it was drawn from")
    clips: list[Annotated[str, StringConstraints(pattern=CLIP)]]

    @model_validator(mode="after")
    def _drawn_from_them(self) -> "Sample":
        if len(self.clips) > self.of:
            raise ValueError("an audit draws no more clips than there are")
        return self


class Verdict(BaseModel):
    """What somebody said. Which fields a kind needs stands in NEEDED; every other one has to be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=ID, description="Made by who sends it, so that sending again makes no second one")
    at_us: int = Field(ge=0, description="When, in microseconds since 1970")
    kind: Kind
    reviewer: str = Field(min_length=1, max_length=80, pattern=TEXT, description="Who says so")
    note: str = Field(default="", max_length=2000, pattern=TEXT, description="Why")
    clip_id: str | None = Field(default=None, pattern=CLIP)
    media_sha256: str | None = Field(
        default=None, pattern=SHA256, description="The pixels it was given on; it holds for no others"
    )
    caption: str | None = Field(default=None, max_length=4000, pattern=TEXT, description="What the caption should be")
    reference: str | None = Field(
        default=None, pattern=r"^media/references/[0-9a-f]{2}/[0-9a-f]{64}\.png$", description="The picture that is bad"
    )
    undoes: str | None = Field(default=None, pattern=ID, description="The reviewer's own verdict that is taken back")
    audit: str | None = Field(default=None, pattern=ID, description="The audit in which it was given")
    tracks: list[Annotated[str, StringConstraints(pattern=TRACK)]] | None = Field(
        default=None, min_length=1, max_length=10_000, description="merge: one of each person; split: all of the new"
    )
    seen: list[Annotated[str, StringConstraints(max_length=64, pattern=TEXT)]] | None = Field(
        default=None, description="Digest of what each track showed: `identities.seen`"
    )
    details: str | None = Field(default=None, max_length=4_000_000, description="An audit's sample, as JSON")

    @model_validator(mode="after")
    def _of_its_kind(self) -> "Verdict":
        needed, optional = NEEDED[self.kind], OPTIONAL.get(self.kind, ())
        for name in SPECIFIC:
            given = getattr(self, name) is not None
            if given and name not in (*needed, *optional):
                raise ValueError(f"{self.kind} takes no {name}")
            if not given and name in needed:
                raise ValueError(f"{self.kind} needs {name}")
        if not self.reviewer.strip():
            raise ValueError("a reviewer has a name")
        if self.seen is not None and len(self.seen) != len(self.tracks or []):
            raise ValueError("seen has one digest for each track")
        if self.details is not None:
            Sample.model_validate_json(self.details)
        return self

    def row(self) -> dict[str, Any]:
        """As a row of the table `verdicts`, without the columns that every table has."""
        return self.model_dump()
