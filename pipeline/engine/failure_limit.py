"""Where most of what is tried fails, something other than the footage is wrong, and going on is waste."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from pipeline.engine.work import DONE, OF_FAILURES
from pipeline.flow import MEASURE, downstream
from schemas.errors import WorkFailed


class TooManyFailures(WorkFailed):
    """A run that is stopped. `stages`: those whose rows say nothing of their clips; none where sources fail."""

    def __init__(self, text: str, stages: frozenset[str] = frozenset()) -> None:
        super().__init__(text)
        self.stages = stages


class FailureLimit:
    """Counts what failed of sources, and of the clips of each stage; both have the same limit."""

    def __init__(self, *, share: float, seen_first: int) -> None:
        self._share, self._seen_first = share, seen_first
        self._seen = 0
        self._errors: Counter[str] = Counter()
        self._clips: Counter[str] = Counter()
        self._clip_errors: dict[str, Counter[str]] = defaultdict(Counter)

    def passed(self, error: str | None) -> str | None:
        """Count a source with its error or none; what to say where the limit is passed."""
        self._seen += 1
        if error is not None:
            self._errors[error] += 1
        if not self._over(self._seen, self._errors):
            return None
        return (
            f"stopped: {_said(self._seen, 'sources', self._errors)}. What is done is kept; "
            "raise engine.failure_limit to go on"
        )

    def count_clips(self, work: Mapping[str, float]) -> None:
        """Count a unit's clips by stage. Raises TooManyFailures at the first stage, in order, that is over the limit.

        Args:
            work: counters of the unit, as `Work` names them.
        """
        for name, amount in work.items():
            if name.startswith(DONE):
                self._clips[name.removeprefix(DONE)] += round(amount)
            elif name.startswith(OF_FAILURES):
                stage, _, kind = name.removeprefix(OF_FAILURES).partition(".")
                self._clip_errors[stage][kind] += round(amount)
        for stage in MEASURE:
            if self._over(self._clips[stage], self._clip_errors[stage]):
                raise TooManyFailures(
                    f"stopped: {_said(self._clips[stage], 'clips', self._clip_errors[stage])}, in the stage {stage}. "
                    f"What is done is kept. Put it right, then give 'humo retry RUN --stage {stage}' for what failed "
                    "and the same command again for the rest; or raise engine.failure_limit to go on",
                    frozenset(downstream({stage}) & set(MEASURE)),
                )

    def _over(self, seen: int, errors: Counter[str]) -> bool:
        return seen >= self._seen_first and errors.total() > self._share * seen


def _said(seen: int, what: str, errors: Counter[str]) -> str:
    often, times = errors.most_common(1)[0]
    return f"{errors.total()} of {seen} {what} failed, {times} of them with: {often}"
