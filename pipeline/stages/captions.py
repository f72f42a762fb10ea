"""Captions. The local backend says what was measured, and no more; the row's backend marks it so."""

from typing import Literal

from pydantic import Field

from pipeline.stage import Clip, ClipInputs, Measured, Row
from schemas.configuration import Configuration

VERSION = 1

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


class CaptionsConfig(Configuration):
    """How clips are described."""

    backend: Literal["measurements"] = Field(
        default="measurements", description="Sentences from the measurements: no looks, no clothes, no action"
    )
    speech: bool = Field(default=True, description="Say whether somebody speaks")


class CaptionsStage:
    """A caption of people, shot size, light, motion and speech."""

    name = "captions"
    backend = f"measurements/{VERSION}"

    def __init__(self, config: CaptionsConfig) -> None:
        self._config = config

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """One row: the caption, a short form, its number of words."""
        quality = inputs.rows("quality")[0]
        faces = inputs.rows("faces")[0]
        speech = inputs.rows("speech") if clip.audio_sha256 and self._config.speech else []
        subject = f"{_size(faces)} of {_people(faces)}"
        sentences = [f"{subject}.", f"The picture is {_light(quality)} and {_motion(quality)}."]
        if speech:
            sentences.append(_sound(speech[0]))
        text = " ".join(sentences)
        row = {
            "id": clip.id,
            "text": text,
            "text_short": sentences[0],
            "word_count": len(text.split()),
            "language": "en",
        }
        return Measured(rows={"captions": [row]})


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
