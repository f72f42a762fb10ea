"""What a metric is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from training.evaluation.clip import GeneratedClip
from training.evaluation.materials import Materials

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True)
class About:
    """What a reader must know of a metric's number."""

    name: str
    title: str
    unit: str
    better: Better
    backend: str
    """What measures it, with its version."""
    weights: str | None
    """Whose weights it needs, and what says which they are; None where it needs none."""
    licence: str
    """Of the weights, or of the code where there are none."""
    says: str
    """What it measures, in a sentence."""


class NotMeasured(Exception):
    """There is no number, with the reason. `passing`: another time there may be one, as where a server was away."""

    def __init__(self, cause: str, *, passing: bool = False) -> None:
        super().__init__(cause)
        self.passing = passing


class Metric(Protocol):
    """Measures one or several related numbers of a video. Made in the process that uses it."""

    @property
    def about(self) -> tuple[About, ...]:
        """What it measures."""
        ...

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """A value or its cause for every name in `about`.

        Raises NotMeasured where there is none of them.
        """
        ...


@dataclass(frozen=True)
class Missing:
    """A metric that nothing here can measure: each of its numbers is NULL, with the cause by name."""

    about: tuple[About, ...]
    cause: str

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """Raises NotMeasured, always."""
        raise NotMeasured(self.cause)
