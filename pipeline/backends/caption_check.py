"""Whether an answer is a caption: its length, its language, and that it is no refusal, loop, markup or chatter."""

import re
from collections import Counter

from pipeline.backends.caption_prompt import Answer

LONG_WORDS = (25, 260)
SHORT_WORDS = (3, 45)
"""Fewest and most words of the two forms. The prompt asks for 60 to 160, and at most 25; models stray a little."""
LOOP_WORDS = 6
"""So many words in a row must not come back more than `LOOP_TIMES` times."""
LOOP_TIMES = 2
LEAST_VARIETY = 0.35
"""Different words over all words of the long form; English prose of 100 words has about 0.65."""
LEAST_LATIN = 0.98
"""Share of letters that are basic Latin ones: a name with an accent may pass, another script does not."""
LEAST_ENGLISH = 0.2
"""Share of words that are among the commonest of English; prose has 0.4 and more, other languages under 0.1."""

_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at back behind by front for from has have he her his in into is it its man near of on one or "
        "over person she slightly that the their them there they this to two wearing while who with woman",
    )
)
_REFUSAL = re.compile(
    r"\b(i(?:'| a)m (?:sorry|unable)|i (?:can(?:'|no)t|am not able)|as an ai|cannot (?:assist|help|identify|provide)|"
    r"unable to (?:see|view|describe|assist)|i do not have the ability)\b",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"<[a-zA-Z/!|][^>]*>|```|\*\*|^\s*[#*•-]\s|\[[^\]]*\]\(|\\[nu]|�|&[a-z]+;|https?://", re.MULTILINE)
_CHATTER = re.compile(
    r"^(?:sure|certainly|of course|here(?:'s| is| are)|the (?:video|clip|frames?|images?|footage|shot) "
    r"(?:shows?|depicts?|features?|captures?|begins?|opens?))\b",
    re.IGNORECASE,
)
_HEARD = re.compile(
    r"\b(?:can be heard|is heard|are heard|sound of|sounds of|voice-?over|music (?:is )?play(?:s|ing)|"
    r"(?:says|saying|asks|asking) (?:that\b|[\"“']))",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")


def problem(answer: Answer) -> str | None:
    """Why this is no caption, as it is told to the model and recorded in the row; None where nothing is wrong."""
    for name, text, (fewest, most) in (("LONG", answer.long, LONG_WORDS), ("SHORT", answer.short, SHORT_WORDS)):
        words = len(text.split())
        if _REFUSAL.search(text):
            return f"{name} is a refusal"
        if _MARKUP.search(text):
            return f"{name} has markup"
        if _foreign(text):
            return f"{name} is not English"
        if not fewest <= words <= most:
            return f"{name} has {words} words, not {fewest} to {most}"
        if _CHATTER.search(text):
            return f"{name} talks about the video instead of the scene"
        if _HEARD.search(text):
            return f"{name} tells of sounds, which are not seen"
    if loop := _loop(answer.long):
        return f"LONG repeats itself: {loop!r}"
    if not answer.long.rstrip().endswith((".", "!", "?")):
        return "LONG breaks off in the middle of a sentence"
    return None


def _foreign(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    if not letters or sum(letter.isascii() for letter in letters) < LEAST_LATIN * len(letters):
        return True
    words = [word.lower() for word in _WORD.findall(text)]
    return sum(word in _COMMON for word in words) < LEAST_ENGLISH * len(words)


def _loop(text: str) -> str | None:
    words = [word.lower() for word in _WORD.findall(text)]
    runs = Counter(tuple(words[start : start + LOOP_WORDS]) for start in range(len(words) - LOOP_WORDS + 1))
    for run, times in runs.most_common(1):
        if times > LOOP_TIMES:
            return " ".join(run)
    return (
        f"{len(set(words))} different words of {len(words)}" if len(set(words)) < LEAST_VARIETY * len(words) else None
    )
