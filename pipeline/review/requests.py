"""What the pages send."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline.verdicts.verdict import ID, TEXT, Population
from schemas.errors import UserError

RUN = Field(pattern=ID, description="The run that the page showed, as `run_id` names it")


class Outdated(UserError):
    """A page asks for what was true when it was loaded, and is not any more."""


class Said(BaseModel):
    """A verdict without its time, which is the server's."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str = Field(pattern=ID)
    run: str = RUN

    def fields(self) -> dict[str, Any]:
        """For the verdict itself, which checks them."""
        return {"id": self.id, **(self.model_extra or {})}


class NewAudit(BaseModel):
    """An audit to be drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=ID)
    reviewer: str = Field(min_length=1, max_length=80, pattern=TEXT)
    run: str = RUN
    population: Population
    half_width: float = Field(gt=0, le=0.5, description="Wanted precision of the share: plus or minus so much")
    expected: float = Field(gt=0, lt=1, description="The share that is likely right; 0.5 is the safest guess")
