"""A caption that says what was measured, and no more: people, shot size, light, motion, speech."""

from pipeline.stage import Row

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


def measured_caption(quality: Row, faces: Row, speech: Row | None) -> tuple[str, str]:
    """The caption and its short form, from a clip's rows; nothing is said of speech where there is no row."""
    sentences = [
        f"{_size(faces)} of {_people(faces)}.",
        f"The picture is {_light(quality)} and {_motion(quality)}.",
    ]
    if speech is not None:
        sentences.append(_sound(speech))
    return " ".join(sentences), sentences[0]


def _people(faces: Row) -> str:
    count = faces["subjects"]
    if count == 0:
        return "a scene in which no face is seen"
    number = NUMBERS[count] if count < len(NUMBERS) else "many"
    return f"{number} {'person' if count == 1 else 'people'}"


def _size(faces: Row) -> str:
    largest = faces["largest"] or 0.0
    if faces["subjects"] == 0:
        return "A wide shot"
    if largest > 0.45:
        return "A close shot"
    return "A medium shot" if largest > 0.2 else "A wide shot"


def _light(quality: Row) -> str:
    luma = quality["luma"]
    return "dark" if luma < 0.25 else "bright" if luma > 0.65 else "evenly lit"


def _motion(quality: Row) -> str:
    return "nearly still" if quality["motion"] < 0.01 else "moving"


def _sound(speech: Row) -> str:
    if speech["ratio"] > 0.3:
        return "Somebody is speaking."
    return "Hardly anything is said." if speech["ratio"] > 0 else "Nobody is speaking."
