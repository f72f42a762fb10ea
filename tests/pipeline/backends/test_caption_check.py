"""What passes for a caption, what does not, and which captions contradict the faces that were followed."""

import re

import pytest

from pipeline.backends.caption_agreement import contradictions
from pipeline.backends.caption_check import problem
from pipeline.backends.caption_prompt import Answer, WrongClip, parsed, question, tag

GOOD = (
    "A woman in her thirties with long brown hair sits at a wooden desk in a bright office, wearing a blue blouse and "
    "a thin necklace. Behind her are shelves with books and a window that lets in soft daylight. She looks towards the "
    "camera, smiles slightly, and lifts her right hand while she speaks. The camera holds a static medium shot."
)
SHORT = "A woman in a blue blouse speaks at a desk."


def answer(long: str = GOOD, short: str = SHORT) -> Answer:
    return Answer(long=long, short=short)


def test_a_good_caption_passes() -> None:
    assert problem(answer()) is None
    assert problem(answer(long=GOOD.replace("necklace", "necklace by the Café Zoë"))) is None


@pytest.mark.parametrize(
    ("long", "said"),
    [
        ("I'm sorry, but I cannot identify the person in this picture." + GOOD, "refusal"),
        ("As an AI, I can tell that " + GOOD, "refusal"),
        (GOOD.replace("A woman", "**A woman**"), "markup"),
        ("# Scene\n" + GOOD, "markup"),
        ("<p>" + GOOD + "</p>", "markup"),
        (GOOD + "<|im_end|>.", "markup"),
        ("Eine Frau sitzt an einem Schreibtisch und hebt die rechte Hand. " * 4, "not English"),
        ("Una mujer con el pelo largo se sienta en un escritorio de madera y sonríe. " * 4, "not English"),
        ("一个女人坐在桌子前面" * 10, "not English"),
        ("A woman sits.", "3 words"),
        (GOOD * 7, "words, not"),
        ("The video shows a woman. " + GOOD, "talks about the video"),
        ("Sure, here it is. " + GOOD, "talks about the video"),
        (GOOD + " Soft music plays.", "sounds"),
        (GOOD + " Her voice can be heard.", "sounds"),
        ("She turns to the left and then " * 12 + "stops.", "repeats itself"),
        (GOOD.rstrip(".") + " and the", "breaks off"),
    ],
)
def test_what_is_no_caption_is_refused_with_the_reason(long: str, said: str) -> None:
    assert said in str(problem(answer(long=long)))


def test_the_short_form_is_judged_too() -> None:
    assert "SHORT has 1 words" in str(problem(answer(short="Woman.")))
    assert "SHORT has markup" in str(problem(answer(short="- a woman who sits at a desk")))


def test_the_prompt_says_what_is_asked_and_the_answer_is_read_back() -> None:
    mark = tag("0123456789abcdef_0_3880000")
    assert re.fullmatch("[A-Z]{6}", mark)
    text = question(frames=8, seconds=0.5, tag=mark, problem="LONG has markup")
    assert f"CLIP: {mark}" in text
    assert "8 frames" in text
    assert text.endswith("LONG has markup. Answer again, in the form asked for.")
    reply = f"**CLIP:** {mark.lower()}\nshort: {SHORT}\nLONG: {GOOD[:100]}\n{GOOD[100:]}"
    assert parsed(reply, tag=mark) == answer(long=" ".join(f"{GOOD[:100]} {GOOD[100:]}".split()))


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        ("CLIP: ZZZZZZ\nSHORT: a\nLONG: b", WrongClip, "not for ABCDEF"),
        ("SHORT: a\nLONG: b", WrongClip, "names no clip"),
        ("", WrongClip, "names no clip"),
        ("CLIP: ABCDEF\nSHORT: a", ValueError, "does not have the parts"),
        ("CLIP: ABCDEF\nSHORT: a\nLONG: b\nCLIP: ZZZZZZ\nLONG: c", ValueError, "twice"),
    ],
)
def test_an_answer_in_another_form_is_none(reply: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        parsed(reply, tag="ABCDEF")


@pytest.mark.parametrize(
    ("text", "subjects", "against"),
    [
        (GOOD, 1, 0),
        ("An empty street at night, with no people in it.", 1, 1),
        ("A wide valley under a grey sky, with a river and many trees.", 2, 1),
        ("A wide valley under a grey sky, with a river and many trees.", 0, 0),
        ("One man stands at a bar.", 2, 1),
        ("Two women sit on a sofa.", 2, 0),
        ("Two women sit on a sofa, and three young men stand behind them.", 4, 0),
        ("A man talks to another man.", 2, 0),
        ("One man stands before a crowd.", 3, 0),
        ("Two people sit, and nobody else is near them.", 3, 1),
        ("Three people walk away from the camera.", 1, 0),
    ],
)
def test_a_caption_that_speaks_against_the_faces_is_flagged(text: str, subjects: int, against: int) -> None:
    assert len(contradictions(text, subjects=subjects)) == against
