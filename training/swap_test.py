"""The swap test: does the model use the audio and the reference it is given?

On held-out samples, with the same noise on both sides of a pair, the loss with the right condition is compared with the
loss with someone else's. The wrong audio is another held-out clip's, of the same person where there is one, so that a
difference is not merely a matter of whose voice it is; the wrong reference shows a person who is not in the clip.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from humo.transformer import HuMoTransformer
from training.dataset import IndexRow
from training.draws import Draw, generator
from training.encoding import BatchEncoder
from training.held_out import HeldOut
from training.plan import Bucket, Slot

TOKEN_LATENTS = 2
"""Latent pixels of a token's side."""


@dataclass(frozen=True)
class Swap:
    """One comparison, in mean squared error of the velocity."""

    condition: str
    region: str
    pairs: int
    right: float
    swapped: float
    difference: float
    """Mean over pairs of swapped minus right."""
    low: float
    """Lower end of the difference's 95 % bootstrap interval over pairs."""
    high: float
    learned: bool
    """The whole interval lies above zero."""

    def line(self) -> str:
        """The result in words."""
        if not self.pairs:
            return f"swapped {self.condition}: not measured, the held-out samples offer no pair"
        verdict = "learned" if self.learned else "not shown, the interval includes zero"
        middle, low, high = (100 * value / self.right for value in (self.difference, self.low, self.high))
        return (
            f"swapped {self.condition}: loss {self.region} {self.right:.4f} -> {self.swapped:.4f}, "
            f"{middle:+.2f} % [{low:+.2f}, {high:+.2f}] over {self.pairs} pairs: {verdict}"
        )


@dataclass(frozen=True)
class _Trial:
    """A held-out window and the windows that lend it wrong audio and wrong references; none where nobody can."""

    own: Slot
    audio_from: list[Slot]
    reference_from: list[Slot]


class SwapTest:
    """Held-out windows with their donors, ready to be measured on a model."""

    def __init__(self, steady: HeldOut, *, held_out: Sequence[IndexRow], donors: Sequence[IndexRow]) -> None:
        """Every window is of a sync sample in `held_out`, or of any there if none is; `donors` lend references too."""
        self._steady, self._config = steady, steady.config
        self._trials = _trials(steady, held_out=held_out, donors=donors)

    def measure(self, model: HuMoTransformer, encoder: BatchEncoder) -> tuple[Swap, Swap]:
        """Audio in the speaker's face boxes, then references everywhere."""
        pairs: dict[str, list[tuple[float, float]]] = {"audio": [], "reference": []}
        size = self._config.parallel.micro_batch or self._config.data.batch
        for trials in self._trials.values():
            for start in range(0, len(trials), size):
                for condition, right, swapped in self._compare(model, encoder, trials[start : start + size]):
                    pairs[condition].append((right, swapped))
        return (
            self._summary("audio", "in face boxes", pairs["audio"]),
            self._summary("reference", "everywhere", pairs["reference"]),
        )

    def _compare(
        self, model: HuMoTransformer, encoder: BatchEncoder, trials: Sequence[_Trial]
    ) -> Iterator[tuple[str, float, float]]:
        """(condition, loss with the right one, loss with the swapped one) of each pair, means over the timesteps."""
        encode, errors = self._steady.encode, self._steady.errors
        own = encode(encoder, [trial.own for trial in trials])
        right_bthw = errors(model, own, own.conditions)
        heard_bthw, shown_bthw = torch.zeros_like(right_bthw), torch.zeros_like(right_bthw)
        whole_b = own.weight_b.cpu() > 0
        donors = self._config.validation.donors
        for number in range(donors):
            heard = encode(encoder, [(trial.audio_from or [trial.own] * donors)[number] for trial in trials])
            shown = encode(encoder, [(trial.reference_from or [trial.own] * donors)[number] for trial in trials])
            with_heard = replace(own.conditions, audio_btwgc=heard.conditions.audio_btwgc)
            with_shown = replace(own.conditions, reference_bcrhw=shown.conditions.reference_bcrhw)
            heard_bthw += errors(model, own, with_heard) / donors
            shown_bthw += errors(model, own, with_shown) / donors
            whole_b &= (heard.weight_b * shown.weight_b).cpu() > 0
        face_bthw = own.face_mask_bthw.cpu().repeat_interleave(TOKEN_LATENTS, 2).repeat_interleave(TOKEN_LATENTS, 3)
        for place, trial in enumerate(trials):
            face = face_bthw[place].bool()
            if trial.audio_from and face.any() and whole_b[place]:
                yield "audio", float(right_bthw[place][face].mean()), float(heard_bthw[place][face].mean())
            if trial.reference_from and whole_b[place]:
                yield "reference", float(right_bthw[place].mean()), float(shown_bthw[place].mean())

    def _summary(self, condition: str, region: str, pairs: list[tuple[float, float]]) -> Swap:
        if not pairs:
            return Swap(condition, region, 0, 0.0, 0.0, 0.0, 0.0, 0.0, learned=False)
        right, swapped = np.array(pairs).T
        settings = self._config.validation
        low, high = bootstrap_interval(swapped - right, resamples=settings.bootstrap, seed=self._config.seed)
        means = float(right.mean()), float(swapped.mean())
        return Swap(condition, region, len(pairs), *means, means[1] - means[0], low, high, learned=low > 0)


def bootstrap_interval(differences: npt.NDArray[np.float64], *, resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of paired differences."""
    random = np.random.default_rng(seed)
    means = random.choice(differences, (resamples, len(differences))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def write_swaps(swaps: Sequence[Swap], path: Path) -> None:
    """The results as JSON, by condition."""
    path.write_text(json.dumps({swap.condition: asdict(swap) for swap in swaps}, indent=1) + "\n")


def _trials(steady: HeldOut, *, held_out: Sequence[IndexRow], donors: Sequence[IndexRow]) -> dict[Bucket, list[_Trial]]:
    """Trials by bucket. Their steps lie beyond training's, so that their noise is new."""
    settings = steady.config.validation
    measured = [row for row in held_out if row.tier == "sync"] or list(held_out)
    own = steady.slots(measured[: settings.samples], windows=settings.windows, beyond=0)
    lent = steady.slots(donors[: settings.samples], windows=1, beyond=1)
    random = generator(steady.config.seed, Draw.TASK, steady.first_step)
    return {
        bucket: [
            _Trial(
                own=slot,
                audio_from=_pick(_other_clips(slot, slots), settings.donors, random),
                reference_from=_pick(_other_people(slot, [*slots, *lent[bucket]]), settings.donors, random),
            )
            for slot in slots
        ]
        for bucket, slots in own.items()
    }


def _other_clips(slot: Slot, slots: Sequence[Slot]) -> list[Slot]:
    """Windows with audio of other clips, of the same people if there are any."""
    if slot.task != "sync":
        return []
    others = [other for other in slots if other.task == "sync" and other.row.key != slot.row.key]
    return [other for other in others if other.row.identities == slot.row.identities] or others


def _other_people(slot: Slot, slots: Sequence[Slot]) -> list[Slot]:
    """Windows with references of others than those in the clip; none for a clip that has no references itself."""
    if not slot.row.references:
        return []
    others = [other for other in slots if not set(other.row.identities) & set(slot.row.identities)]
    return [other for other in others if other.row.references]


def _pick(slots: Sequence[Slot], count: int, random: np.random.Generator) -> list[Slot]:
    return [slots[place] for place in random.integers(len(slots), size=count)] if slots else []
