"""What describes clips, and how replies come back: each under the key it was asked under, never by its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.backends import caption_check
from pipeline.backends.caption_prompt import Answer, WrongClip, parsed, question, tag


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A clip to be described."""

    key: str
    """The clip's id."""
    frames_thwc: Sequence[NDArray[np.uint8]]
    """Frames in time order, RGB uint8 (H, W, 3)."""
    seconds: float
    """From one frame to the next."""
    problem: str | None = None
    """Why the answer before was refused."""

    def text(self) -> str:
        """What is asked about the frames."""
        frames = len(self.frames_thwc)
        return question(frames=frames, seconds=self.seconds, tag=tag(self.key), problem=self.problem)


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How a model writes."""

    tokens: int
    """Most new tokens of an answer."""
    temperature: float


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back for a key: a text, or why there is none."""

    key: str
    text: str | None
    error: str | None = None


class Captioner(Protocol):
    """Describes clips."""

    @property
    def name(self) -> str:
        """Backend, model and its version, as rows record it."""
        ...

    def reply(self, asked: Sequence[Asked]) -> list[Reply]:
        """A reply for every key, in any order. Raises ValueError where that is not so."""
        ...


@dataclass(frozen=True, kw_only=True)
class Described:
    """What became of one clip: an answer, or the reason why there is none; and how often it was asked."""

    answer: Answer | None
    error: str | None
    attempts: int


def describe(captioner: Captioner, asked: Sequence[Asked], *, attempts: int) -> dict[str, Described]:
    """Key -> what came of it. Answers that are no captions are asked for again, with the reason, so many times in all.

    Raises ValueError where keys are not unique, or where the captioner answers for others than it was asked for.
    """
    open_ = {one.key: one for one in asked}
    if len(open_) != len(asked):
        raise ValueError("a key was asked for twice")
    done: dict[str, Described] = {}
    for attempt in range(1, attempts + 1):
        if not open_:
            break
        again: dict[str, Asked] = {}
        for key, reply in _by_key(open_, captioner.reply(list(open_.values()))).items():
            answer, error = _judged(reply)
            done[key] = Described(answer=answer, error=error, attempts=attempt)
            if error is not None:
                one = open_[key]
                problem = error if reply.text is not None else one.problem
                again[key] = Asked(key=key, frames_thwc=one.frames_thwc, seconds=one.seconds, problem=problem)
        open_ = again
    return done


def _by_key(asked: Mapping[str, Asked], replies: Sequence[Reply]) -> dict[str, Reply]:
    found = {reply.key: reply for reply in replies}
    if len(found) != len(replies) or found.keys() != asked.keys():
        raise ValueError("the captioner did not answer for each key once")
    return found


def _judged(reply: Reply) -> tuple[Answer | None, str | None]:
    if reply.text is None:
        return None, reply.error or "no answer"
    try:
        answer = parsed(reply.text, tag=tag(reply.key))
    except WrongClip as error:
        return None, f"the answer is not for this clip: {error}"
    except ValueError as error:
        return None, f"the answer is no caption: {error}"
    found = caption_check.problem(answer)
    return (None, f"the answer is no caption: {found}") if found else (answer, None)
