"""Options of the stage `candidates`, and the version of its code."""

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 5


class CandidatesConfig(Configuration):
    """How many candidates are stored. Bounds on similarity, size and quality are applied later, when deciding."""

    limit: int = Field(default=16, ge=1, description="Candidates of each track, most similar first")
