"""The film's script: which shots, in which reel, and what is planted where."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.demo.looks import DAYLIGHT, NIGHT, Look, draw_look
from pipeline.demo.truth import ExpectedTier, ShotKind

FPS = 25
LATE_FRAMES = 8
DISSOLVE_FRAMES = 16
FLASH_FRAMES = (46, 47)
LOOKS_PER_PERSON = 14

REELS = (
    ("good A", "good B", "good A", "faceless", "good B", "flash A", "good B"),
    ("good B", "good A", "silent B", "good A", "good B", "late A", "good B"),
    ("good A", "good B", "blurred A", "good B", "good A dissolve", "black B", "good A"),
    ("good B", "good A", "duplicate A", "good B", "good A", "late B", "good B", "good A"),
)
"""What each shot is and who is in it; `flash` is a good shot with a flash, `dissolve` says how a shot begins."""
PEOPLE = {"A": "collins", "B": "hopper"}
PLACES = {"A": DAYLIGHT, "B": NIGHT}
"""Each person keeps to a place, so that a reference tells more about a shot than who is in it."""
EXPECTED: dict[ShotKind, tuple[ExpectedTier, str | None]] = {
    "good": ("sync", None),
    "faceless": ("none", "faces.subjects"),
    "silent": ("subject", "speech.ratio"),
    "late": ("subject", "sync.offset_frames"),
    "blurred": ("none", "quality.sharpness"),
    "black": ("none", "quality.luma"),
    "duplicate": ("none", "duplicates.is_duplicate"),
}
"""The highest tier each kind may reach, and the measurement that keeps it from the next one."""


@dataclass(frozen=True)
class Shot:
    """Everything needed to render one shot; equal shots render to equal frames."""

    id: str
    kind: ShotKind
    person: str | None
    frames: int
    """Dissolves at either end included."""
    seed: int
    """Decides what is said and how the person moves."""
    look: Look
    dissolve_in: int = 0
    """How many of its first frames are mixed with the end of the shot before."""
    flash: tuple[int, ...] = ()
    """Frames that are white."""
    duplicate_of: str | None = None

    @property
    def audio_delay_frames(self) -> int:
        """By how much the audio comes too late."""
        return LATE_FRAMES if self.kind == "late" else 0

    @property
    def speaking(self) -> bool:
        """Whether speech is heard."""
        return self.kind != "silent"


def write_script(seed: int) -> tuple[tuple[Shot, ...], ...]:
    """The shots of every reel. The same seed gives the same film."""
    rng = np.random.default_rng([seed, 0x5C12])
    looks = {
        who: iter([draw_look(rng, place, number=n) for n in range(LOOKS_PER_PERSON)]) for who, place in PLACES.items()
    }
    originals: dict[str, Shot] = {}
    reels: list[tuple[Shot, ...]] = []
    for reel_number, lines in enumerate(REELS, start=1):
        shots: list[Shot] = []
        for shot_number, line in enumerate(lines, start=1):
            words = line.split()
            identifier = f"r{reel_number}s{shot_number}"
            who = words[1] if len(words) > 1 else None
            if words[0] == "duplicate":
                original = originals[who or ""]
                copy = replace(original, id=identifier, kind="duplicate", duplicate_of=original.id)
                shots.append(copy)
                continue
            dissolve = DISSOLVE_FRAMES if "dissolve" in words else 0
            shot = Shot(
                id=identifier,
                kind=_kind(words[0]),
                person=PEOPLE[who] if who else None,
                frames=int(rng.integers(101, 107)) + dissolve,
                seed=int(rng.integers(2**31)),
                look=next(looks[who]) if who else draw_look(rng, DAYLIGHT, number=4),
                dissolve_in=dissolve,
                flash=FLASH_FRAMES if words[0] == "flash" else (),
            )
            if dissolve:
                shots[-1] = replace(shots[-1], frames=shots[-1].frames + dissolve)
            if who and words[0] == "good":
                originals.setdefault(who, shot)
            shots.append(shot)
        reels.append(tuple(shots))
    return tuple(reels)


def _kind(word: str) -> ShotKind:
    for kind in EXPECTED:
        if word == kind:
            return kind
    if word == "flash":
        return "good"
    raise ValueError(f"the script names no kind of shot {word!r}")
