"""What a video was made from, decoded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from humo.inputs import read_audio, read_image
from training.evaluation.cases.benchmark import Case, located


@dataclass(frozen=True, eq=False)
class Materials:
    """The text, references and speech of a case."""

    name: str
    text: str
    references: tuple[NDArray[np.uint8], ...]
    """RGB, (height, width, 3) of any size, best first."""
    speech_s: NDArray[np.float32] | None
    """16 kHz mono in [-1, 1]."""


def read_materials(case: Case, folder: Path) -> Materials:
    """Read the files of a case. Raises UserError for one that is broken."""
    return Materials(
        name=case.name,
        text=case.text,
        references=tuple(read_image(located(folder, file)) for file in case.references),
        speech_s=None if case.speech is None else read_audio(located(folder, case.speech)),
    )
