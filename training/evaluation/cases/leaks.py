"""What benchmark cases must not share with training: a person, a source, or a near-duplicate of a clip."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.backends.signature import Signature, distance
from schemas.errors import UserError
from training.evaluation.cases.benchmark import KINDS, Check, Kind

NEAR_DUPLICATE = 0.3
"""Clips less apart than this are copies; the default of `duplicates.distance` in a curation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Origin:
    """Where a sample is from and what it looks like."""

    key: str
    identities: frozenset[str]
    """In the clip and on its references."""
    sources: frozenset[str]
    """Of the clip and of its references."""
    signature: Signature


@dataclass(frozen=True)
class Leak:
    """Something that a case shares with a training sample."""

    kind: Kind
    case: str
    trained: str
    what: str

    def line(self) -> str:
        """In words."""
        return f"the case {self.case} shares {self.what} with the training sample {self.trained}"


def find_leaks(cases: Sequence[Origin], trained: Iterable[Origin], *, same_run: bool) -> list[Leak]:
    """Every leak, at most one of a kind for a case.

    Args:
        cases: the benchmark's.
        trained: what the model has seen.
        same_run: both are from one curation, so that equal people have equal names. Otherwise people are not compared.
    """
    by_identity: dict[str, list[Origin]] = defaultdict(list)
    by_source: dict[str, list[Origin]] = defaultdict(list)
    for case in cases:
        for identity in case.identities:
            by_identity[identity].append(case)
        for source in case.sources:
            by_source[source].append(case)
    found: dict[tuple[Kind, str], Leak] = {}

    def note(kind: Kind, case: Origin, sample: Origin, what: str) -> None:
        found.setdefault((kind, case.key), Leak(kind, case.key, sample.key, what))

    for sample in trained:
        for identity in sorted(sample.identities) if same_run else ():
            for case in by_identity[identity]:
                note("identity", case, sample, f"the identity {identity}")
        for source in sorted(sample.sources):
            for case in by_source[source]:
                note("source", case, sample, f"the source {source}")
        for case in cases:
            if ("near-duplicate", case.key) in found:
                continue
            apart = distance(case.signature, sample.signature)
            if apart < NEAR_DUPLICATE:
                note("near-duplicate", case, sample, f"its pictures and movements ({max(apart, 0.0):.3f} apart)")
    return sorted(found.values(), key=lambda leak: (KINDS.index(leak.kind), leak.case))


def checked(leaks: Sequence[Leak], *, cases: int, same_run: bool, accepted: Sequence[Kind]) -> tuple[Check, ...]:
    """The outcome of every kind of check.

    Raises UserError for a leak, or for a check that could not be made, that was not accepted by its kind's name.
    """
    checks = []
    for kind in KINDS:
        own = [leak for leak in leaks if leak.kind == kind]
        if kind == "identity" and not same_run:
            outcome, detail = "unknown", "cases and training are of two curations, whose people have different names"
        elif own:
            outcome, detail = "leaks", f"{len(own)} of {cases} cases; {own[0].line()}"
        else:
            outcome, detail = "none", f"none of {cases} cases"
        if outcome != "none" and kind not in accepted:
            what = "is not known" if outcome == "unknown" else "leaks"
            raise UserError(
                f"{kind} {what}: {detail}. Choose other cases, or --accept {kind} to have it told with them"
            )
        checks.append(Check(kind=kind, outcome=outcome, detail=detail, accepted=outcome != "none"))  # type: ignore[arg-type]
    return tuple(checks)
