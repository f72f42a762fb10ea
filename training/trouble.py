"""Steps that must not change the weights: a loss or gradient that is no number, a gradient far above the usual."""

import math
from dataclasses import asdict, dataclass, replace

from training.config import Trouble

_SMOOTHING = 0.02


@dataclass(frozen=True)
class Usual:
    """What the steps of a stage taught so far. It belongs to a checkpoint: a resumed run judges as the first did."""

    steps: int = 0
    norm: float = 0.0
    """Running mean of the gradient norm."""
    skipped: int = 0
    """Steps in a row that were skipped."""

    def as_facts(self) -> dict[str, float]:
        """As JSON."""
        return asdict(self)


def trouble_with(loss: float, norm: float, usual: Usual, settings: Trouble) -> str | None:
    """What is wrong with a step, or None."""
    if not (math.isfinite(loss) and math.isfinite(norm)):
        return f"loss {loss}, gradient norm {norm}"
    if settings.spike and usual.steps >= settings.after and norm > settings.spike * usual.norm:
        return f"gradient norm {norm:.4g}, {norm / usual.norm:.1f} times the usual"
    return None


def learned(usual: Usual, norm: float | None) -> Usual:
    """After a step with this gradient norm; None for one that was skipped."""
    if norm is None:
        return replace(usual, skipped=usual.skipped + 1)
    mean = norm if usual.steps == 0 else usual.norm + _SMOOTHING * (norm - usual.norm)
    return Usual(steps=usual.steps + 1, norm=mean)
