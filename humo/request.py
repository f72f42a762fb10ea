"""What every request must satisfy, whatever the model; checked before anything heavy is loaded."""

from humo.guidance import Mode
from schemas.errors import UserError

SIZE_MULTIPLE = 16
"""Pixels: the codec's stride of 8 times the transformer's patch of 2."""
MODES: dict[str, Mode] = {"TIA": "TIA", "TA": "TA", "TI": "TI", "T": "T"}


def check_text(text: str) -> None:
    """Raises UserError for a text without words."""
    if not text.strip():
        raise UserError("the text is empty; say what the video shows")


def check_frames(frames: int) -> None:
    """Raises UserError unless there are 4n+1 frames."""
    if frames < 1 or frames % 4 != 1:
        nearest = max(1, 4 * round((frames - 1) / 4) + 1)
        raise UserError(f"a video has 4n+1 frames, which {frames} is not; {nearest} is near it")


def check_size(height: int, width: int) -> None:
    """Raises UserError unless height and width divide by 16."""
    if min(height, width) < SIZE_MULTIPLE or height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
        raise UserError(f"height and width must divide by {SIZE_MULTIPLE}, which {height}x{width} does not")


def choose_mode(mode: str | None, *, images: bool, speech: bool) -> Mode:
    """The mode, or without one the mode that uses everything given.

    Raises UserError for an unknown mode and for one whose conditions were not given.
    """
    if mode is None:
        mode = "T" + ("I" if images else "") + ("A" if speech else "")
    if mode not in MODES:
        raise UserError(f"the mode {mode!r} is none of {', '.join(MODES)}")
    if "I" in mode and not images:
        raise UserError(f"the mode {mode} needs a reference image")
    if "A" in mode and not speech:
        raise UserError(f"the mode {mode} needs speech")
    return MODES[mode]
