"""What a vision-language model says, on a fixed rubric (`rubric.md`)."""

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from training.evaluation.backends.judge import Judge, NoAnswer
from training.evaluation.clip import GeneratedClip
from training.evaluation.materials import Materials
from training.evaluation.metrics.metric import About, NotMeasured

SHOWN = 6
"""Frames, spread evenly."""
SCORES = {
    "text": "how much of the text is to be seen",
    "person": "whether the people and things are those of the references",
    "natural": "whether it looks like a real recording",
}


def about_judge(*, backend: str, weights: str, licence: str) -> tuple[About, ...]:
    """Of the three scores."""
    return tuple(
        About(
            name=f"judge_{name}",
            title=f"Judge: {name}",
            unit="score, 1 to 5",
            better="higher",
            backend=backend,
            weights=weights,
            licence=licence,
            says=f"{says}, as a vision-language model scores six frames on a fixed rubric",
        )
        for name, says in SCORES.items()
    )


class JudgeScores:
    """Three scores by one question."""

    def __init__(self, judge: Judge, about: tuple[About, ...]) -> None:
        self._judge = judge
        self.about = about

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`. An answer that is not what the rubric asks for is no score."""
        frames = [clip.frames_thwc[index] for index in clip.spread(SHOWN)]
        rubric = files("training.evaluation.metrics").joinpath("rubric.md").read_text(encoding="utf-8")
        question = rubric.format(references=len(given.references), frames=len(frames), text=given.text)
        try:
            answer = self._judge.answer(question, [*given.references, *frames])
        except NoAnswer as error:
            raise NotMeasured(str(error), passing=error.passing) from error
        found = parse(answer)
        return {f"judge_{name}": _score(found[name], given, name) for name in SCORES}


def parse(answer: str) -> dict[str, Any]:
    """The scores in an answer. Raises NotMeasured for anything but the JSON object that was asked for."""
    written = re.search(r"\{[^{}]*\}", answer)
    try:
        found = json.loads(written.group()) if written else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or set(found) != set(SCORES):
        raise NotMeasured(f"the judge does not keep to the rubric: {' '.join(answer.split())[:80]!r}")
    return found


def _score(value: Any, given: Materials, name: str) -> float | NotMeasured:
    if name == "person" and not given.references:
        return NotMeasured("the case has no reference")
    if type(value) is not int or not 1 <= value <= 5:
        return NotMeasured(f"the judge does not keep to the rubric: {name} is {value!r}")
    return float(value)
