"""What a vision-language model is asked, in versions: a caption's row says which one it answers."""

import hashlib
import re
from dataclasses import dataclass

VERSION = "humo-1"

_ASKED = """You are shown {count} frames of one video shot, in time order, {spacing} apart. Describe the shot for \
somebody who will recreate it without seeing it.

Write three lines and nothing else:
CLIP: {tag}
SHORT: one sentence of at most 25 words.
LONG: one paragraph of 60 to 160 words.

The paragraph tells, in this order: where it takes place, the background and the light; how many people are seen, and \
of each the apparent age group, hair, clothes and what they carry; what they do, from the first frame to the last; the \
expression of each face; how the camera frames the scene (close, medium or wide shot), from where, and how it moves.

Tell only what can be seen. Do not name anybody. Do not guess at sounds, at words that are spoken, at thoughts, or at \
what comes before or after. Write English sentences without headings, lists, markup or quotation marks. Begin with the \
scene or the person, not with words like "the video" or "the frames"."""

_LETTERS = "ABCDEFGHKLMNPRSTUVWXYZ"
"""Without those that are taken for one another."""
_MARK = re.compile(r"\s*[*_#]*(CLIP|SHORT|LONG)[*_]*\s*:[*_]*", re.IGNORECASE)
_AGAIN = """Your answer before could not be used: {problem}. Answer again, in the form asked for."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A caption in its two forms."""

    long: str
    short: str


class WrongClip(ValueError):
    """An answer that does not bear the tag of the clip that was asked about: it may be about another."""


def tag(key: str) -> str:
    """Six letters that stand for a clip's key in the prompt and in the answer. Short, so that models copy them."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
    return "".join(_LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)] for place in range(6))


def question(*, frames: int, seconds: float, tag: str, problem: str | None = None) -> str:
    """The text that goes with a clip's frames.

    Args:
        frames: how many.
        seconds: from one to the next.
        tag: what the answer must begin with, from `tag`.
        problem: why the answer before was refused.
    """
    spacing = f"about {seconds:.1f} seconds"
    text = _ASKED.format(count=frames, spacing=spacing, tag=tag)
    return f"{text}\n\n{_AGAIN.format(problem=problem)}" if problem else text


def parsed(reply: str, *, tag: str) -> Answer:
    """The two forms in a reply.

    Raises:
        WrongClip: it does not bear this tag.
        ValueError: it does not have the parts that were asked for, once each.
    """
    parts: dict[str, list[str]] = {}
    part: list[str] | None = None
    for line in reply.strip().splitlines():
        mark = _MARK.match(line)
        if mark:
            if mark[1].upper() in parts:
                raise ValueError(f"it has the part {mark[1].upper()} twice")
            part = parts[mark[1].upper()] = [line[mark.end() :].strip()]
        elif part is not None:
            part.append(line.strip())
    text = {name: " ".join(" ".join(lines).split()) for name, lines in parts.items()}
    if text.get("CLIP", "").upper() != tag:
        raise WrongClip(f"it is for {text['CLIP'][:20]!r}, not for {tag}" if text.get("CLIP") else "it names no clip")
    if not text.get("SHORT") or not text.get("LONG"):
        raise ValueError("it does not have the parts SHORT and LONG")
    return Answer(long=text["LONG"], short=text["SHORT"])
