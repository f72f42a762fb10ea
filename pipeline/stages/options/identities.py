"""Options of the stage `identities`, and the version of its code."""

from typing import Literal

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 5


class IdentitiesConfig(Configuration):
    """When two tracks are one person. Similarity is the cosine of their identity descriptors."""

    classical: float = Field(
        default=0.87, ge=-1, le=1, description="Least similarity with the descriptor classical, which is weak"
    )
    sface: float = Field(default=0.363, ge=-1, le=1, description="Least similarity with the descriptor sface")
    arcface: float = Field(default=0.4, ge=-1, le=1, description="Least similarity with the descriptor arcface")
    neighbours: int = Field(default=32, ge=2, description="Most similar tracks that each track is compared with")
    index: Literal["exact", "ivf"] = Field(
        default="exact",
        description="exact: every track is compared with every other, which takes hours from some 500,000 tracks on; "
        "ivf: by an index, which finds nearly all of the most similar ones",
    )
    probes: int = Field(
        default=24, ge=1, description="With ivf: how many partitions are looked at, of 256 tracks each or more"
    )

    def threshold(self, descriptor: str) -> float:
        """Least similarity with a descriptor, by its name in `faces.descriptor`."""
        return float({"classical": self.classical, "sface": self.sface, "arcface": self.arcface}[descriptor])
