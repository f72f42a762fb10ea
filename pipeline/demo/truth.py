"""What is true of the film: written beside the reels as `truth.json`, read by whoever checks the curation."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import UserError

TRUTH_FILE = "truth.json"
ShotKind = Literal["good", "faceless", "silent", "late", "blurred", "black", "duplicate"]
ExpectedTier = Literal["sync", "subject", "none"]


class TrueShot(BaseModel):
    """One shot as it was rendered. Times are on the reel's presentation clock, dissolves left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    reel: str
    """File name of the reel, beside the truth table."""
    start_us: int = Field(ge=0)
    end_us: int = Field(gt=0)
    boundary: Literal["start", "cut", "dissolve"]
    """How the shot begins."""
    kind: ShotKind
    person: str | None
    """Who is seen; None where nobody is, or where nobody can be (black)."""
    look: str
    """Name of the background, light and framing; no two shots share one, except a duplicate and its original."""
    speaking: bool
    """Whether speech is heard."""
    audio_delay_frames: int = 0
    """By how many frames the audio comes after the picture it belongs to."""
    flash_us: tuple[tuple[int, int], ...] = ()
    """White spans inside the shot that are no cut."""
    duplicate_of: str | None = None
    """Id of the shot this is a copy of."""
    expected_tier: ExpectedTier
    """The highest tier that its clip may reach."""
    rejected_by: str | None = None
    """The measurement whose rule must reject it, or leave it unknown, in the tier above `expected_tier`."""


class TrueReel(BaseModel):
    """One file of the film."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    frames: int = Field(gt=0)
    dissolves_us: tuple[tuple[int, int], ...] = ()
    """Spans in which one shot turns into the next; no kept clip may touch one."""
    shots: tuple[TrueShot, ...]


class Truth(BaseModel):
    """The whole film."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: Literal["humo.film/1"] = Field(default="humo.film/1", alias="schema")
    seed: int
    fps: int
    width: int
    height: int
    reels: tuple[TrueReel, ...]

    @property
    def shots(self) -> tuple[TrueShot, ...]:
        """All shots, in the order of the reels."""
        return tuple(shot for reel in self.reels for shot in reel.shots)


def write_truth(truth: Truth, directory: Path) -> Path:
    """Write the table beside the reels and return its path."""
    path = directory / TRUTH_FILE
    path.write_text(truth.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
    return path


def read_truth(path: Path) -> Truth:
    """Read a truth table. Raises UserError where the file is missing or is not one."""
    try:
        return Truth.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; `humo demo` writes it beside the film") from error
    except ValidationError as error:
        raise UserError(f"{path} is not the truth table of a film: {error.errors()[0]['msg']}") from error
