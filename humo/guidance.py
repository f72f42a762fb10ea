"""Guidance: which passes a sampling step makes and how their velocities are mixed.

A pass is named by the conditions it gets: T text, I image, A audio; `I` and `0` get the negative text. A formula is a
base pass plus scaled differences of two passes; it may change with the timestep, and so may its scales.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Pass = Literal["TIA", "TI", "TA", "T", "I", "0"]
Mode = Literal["TIA", "TA", "TI", "T"]
"""The conditions the user gave."""
CANCELLED = 1e-9
"""A pass whose weight is below this is not made: its contrasts cancel."""
Scale = float | Callable[[float], float]
"""Fixed, or a function of the timestep (1000 noise .. 0 clean)."""


@dataclass(frozen=True)
class Contrast:
    """`scale * (v(towards) - v(away))`."""

    scale: Scale
    towards: Pass
    away: Pass


@dataclass(frozen=True, kw_only=True)
class Formula:
    """`v(base)` plus the contrasts, for timesteps above `above`."""

    contrasts: tuple[Contrast, ...]
    base: Pass = "0"
    above: float = float("-inf")


@dataclass(frozen=True)
class Guidance:
    """For each mode its formulas, the highest `above` first; the first that applies at a timestep counts."""

    formulas: Mapping[Mode, tuple[Formula, ...]]

    def weights(self, mode: Mode, timestep: float) -> dict[Pass, float]:
        """Every pass that the step needs, with its weight in the sum; the weights add up to 1.

        Raises ValueError for a mode that this guidance has no formula for.
        """
        if mode not in self.formulas:
            raise ValueError(f"no guidance for the mode {mode}; there is one for {', '.join(self.formulas)}")
        formula = next(formula for formula in self.formulas[mode] if timestep > formula.above)
        weights: dict[Pass, float] = {}
        for contrast in formula.contrasts:
            scale = contrast.scale(timestep) if callable(contrast.scale) else contrast.scale
            weights[contrast.towards] = weights.get(contrast.towards, 0.0) + scale
            weights[contrast.away] = weights.get(contrast.away, 0.0) - scale
        weights[formula.base] = weights.get(formula.base, 0.0) + 1.0
        return {name: weight for name, weight in weights.items() if abs(weight) > CANCELLED}


def official_17b(*, text: float = 5.0, audio: float = 5.5, switch: float = 980.0) -> Guidance:
    """The released 17B's guidance (official code); the first steps keep the image in the negative pass.

    Without audio (TI) there is no official form: this is TIA less its audio term. T is plain classifier-free guidance.
    """
    heard = Contrast(audio, "TIA", "TI")
    early_text, late_text = Contrast(text, "TI", "I"), Contrast(text - 2.0, "TI", "0")

    def phases(*shared: Contrast) -> tuple[Formula, ...]:
        early = Formula(contrasts=(*shared, early_text), base="I", above=switch)
        return early, Formula(contrasts=(*shared, late_text))

    return Guidance(
        {
            "TIA": phases(heard),
            "TA": (Formula(contrasts=(Contrast(audio, "TA", "T"), Contrast(text, "T", "0"))),),
            "TI": phases(),
            "T": (Formula(contrasts=(Contrast(text, "T", "0"),)),),
        }
    )


def official_1_7b(*, text: float = 7.5, image: float = 4.0, audio: float = 7.5) -> Guidance:
    """The released 1.7B's guidance (official code): one chain from nothing to text to audio to image.

    The official code makes four passes for TIA and three for TA. At its own scales the pass T cancels (text = audio),
    so here they are three and two, with the same result.

    Without audio (TI) there is no official form: this is the chain less its audio step.
    """
    worded = Contrast(text, "T", "0")
    heard = Contrast(audio, "TA", "T")
    return Guidance(
        {
            "TIA": (Formula(contrasts=(Contrast(image, "TIA", "TA"), heard, worded)),),
            "TA": (Formula(contrasts=(heard, worded)),),
            "TI": (Formula(contrasts=(Contrast(image, "TI", "T"), worded)),),
            "T": (Formula(contrasts=(worded,)),),
        }
    )


def paper(*, text: Scale, image: Scale, audio: Scale) -> Guidance:
    """The paper's Eq. 4: a chain from nothing to text to image to audio, its scales functions of the timestep.

    Early steps favour text and structure, later ones audio and image; the paper does not publish the functions.
    """
    worded = Contrast(text, "T", "0")
    pictured = Contrast(image, "TI", "T")
    return Guidance(
        {
            "TIA": (Formula(contrasts=(Contrast(audio, "TIA", "TI"), pictured, worded)),),
            "TA": (Formula(contrasts=(Contrast(audio, "TA", "T"), worded)),),
            "TI": (Formula(contrasts=(pictured, worded)),),
            "T": (Formula(contrasts=(worded,)),),
        }
    )
