"""Whether a caption contradicts what was measured: people where no face was found is no contradiction, but a caption
without people where faces are followed is, and so is another number of people."""

import re

_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_NUMBER = "|".join(_NUMBERS)
_PEOPLE = r"(?:people|persons?|men|women|man|woman|individuals?|boys?|girls?|speakers?|adults?|children|figures?)"
_COUNTED = re.compile(rf"\b({_NUMBER}|\d+)\s+(?:[\w-]+\s+){{0,3}}?{_PEOPLE}\b", re.IGNORECASE)
_NOBODY = re.compile(
    rf"\b(?:no|without(?: any)?|not a single|devoid of)\s+(?:visible\s+|human\s+)*(?:{_PEOPLE}|one|body|humans?)\b|"
    r"\b(?:nobody|no one|no-one) (?:is|can be)\b|\bempty of people\b",
    re.IGNORECASE,
)
_ANYBODY = re.compile(
    r"\b(?:people|persons?|m[ae]n|wom[ae]n|individuals?|boys?|girls?|child(?:ren)?|adults?|somebody|someone|speakers?|"
    r"lad(?:y|ies)|gentlem[ae]n|figures?|subjects?|faces?|hosts?|presenters?|reporters?|crowd|couple|group|he|she|"
    r"teenagers?|bab(?:y|ies)|toddlers?|infants?|singers?|actors?|actress(?:es)?|players?|guys?)\b",
    re.IGNORECASE,
)


def contradictions(text: str, *, subjects: int) -> list[str]:
    """What the caption says against the faces that are followed through the clip; empty where nothing.

    More people than faces is none: some turn away. Numbers that the text gives for parts of a group ("one man and
    two women") are added up before they count against the faces; a total given beside its parts only makes it more.

    Args:
        text: the caption's long form.
        subjects: people whose faces are followed, as `faces.subjects` counts them.
    """
    found = []
    if subjects and (_NOBODY.search(text) or not _ANYBODY.search(text)):
        found.append(f"it speaks of nobody, where {subjects} are seen")
        return found
    counts = [_NUMBERS.get(word.lower()) or int(word) for word in _COUNTED.findall(text)]
    if counts and sum(counts) < subjects and not re.search(r"\b(?:another|others?|crowd|group|several)\b", text, re.I):
        found.append(f"it speaks of {sum(counts)} people, where {subjects} are seen")
    return found
