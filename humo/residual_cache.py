"""Steps that reuse what the blocks added in an earlier step, where their input has hardly changed since (the idea of
TeaCache, arXiv 2411.19108). Faster and less exact: so it is off unless asked for, and it says what it did.

The input is judged by the first block's modulated one, which holds the latents and the timestep. The first and the last
step are always computed. Each pass keeps two tensors of the residual stream's size in float32: 0.5 GB with the 1.7B at
480x832 and 97 frames, 1.7 GB with the 17B.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(kw_only=True)
class Reuse:
    """What to reuse, and the account of what was; give a new one for each video."""

    threshold: float
    """The blocks are skipped while their input differs from that of the last computed step by less than this, relative
    in the mean of magnitudes."""
    computed: int = 0
    """Passes that were computed."""
    reused: int = 0
    """Passes that skipped the blocks."""
    largest_change: float = 0.0
    """The error in the blocks' share of a velocity: how far it was from the one kept, at the worst of all computations
    that ended a reuse; relative in the mean of magnitudes. A reused step lies before such a computation and is
    usually off by less."""

    def told(self) -> str:
        """In a line."""
        return (
            f"{self.reused} of {self.reused + self.computed} passes reused the blocks' result, "
            f"which had changed by {100 * self.largest_change:.1f} % at most when it was computed again"
        )


class Residual:
    """What the blocks added to the residual stream, for one batch of passes."""

    fresh: bool = False
    """The next pass is to be computed."""

    def __init__(self, reuse: Reuse) -> None:
        self._reuse = reuse
        self._kept: tuple[Tensor, Tensor] | None = None
        self._used = False

    def recall(self, input_blc: Tensor, passes: int) -> Tensor | None:
        """What was added to a like input; None if it must be computed."""
        if self.fresh or self._kept is None:
            return None
        if relative_change(input_blc, self._kept[0]) >= self._reuse.threshold:
            return None
        self._reuse.reused += passes
        self._used = True
        return self._kept[1]

    def keep(self, input_blc: Tensor, added_blc: Tensor, passes: int) -> None:
        """A computed one."""
        if self._kept is not None and self._used:
            self._reuse.largest_change = max(self._reuse.largest_change, relative_change(self._kept[1], added_blc))
        self._reuse.computed += passes
        self._kept, self._used = (input_blc, added_blc), False


def relative_change(x: Tensor, reference: Tensor) -> float:
    """Mean |x - reference| over mean |reference|."""
    return float((x - reference).abs().mean() / reference.abs().mean())
