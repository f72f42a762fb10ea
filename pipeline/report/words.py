"""Measurements in plain words: what each is called, and how its value reads with its unit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schemas.sample import FPS

Say = Callable[[Any], str]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A column as the report shows it. `optional`: left out where it is NULL, since the local backends lack it."""

    column: str
    label: str
    say: Say
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Topic:
    """What the report shows of one clip-level table."""

    table: str
    title: str
    measures: tuple[Measure, ...]


def duration(seconds: float) -> str:
    """A length in the unit that suits it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.2f} h"


def count(number: int, noun: str) -> str:
    """`1 clip`, `2 clips`, `12,345 clips`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _fixed(digits: int, unit: str = "") -> Say:
    return lambda value: f"{value:.{digits}f}{unit}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _fine_percent(value: float) -> str:
    return f"{value:.1%}"


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _offset(frames: int) -> str:
    if frames == 0:
        return "none: in step"
    direction = "late" if frames > 0 else "early"
    return f"{frames:+d} frames ({abs(frames) * 1000 // FPS} ms): the sound is {direction}"


def _chance(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "under 0.0001"


TOPICS = (
    Topic(
        table="quality",
        title="Picture",
        measures=(
            Measure(column="sharpness", label="Sharpness (0 blurred, 1 sharp)", say=_fixed(3)),
            Measure(column="luma", label="Brightness (0 black, 1 white)", say=_fixed(2)),
            Measure(column="contrast", label="Contrast (0 flat)", say=_fixed(2)),
            Measure(column="motion", label="Change from frame to frame", say=_fine_percent),
            Measure(
                column="camera_motion",
                label="Shift of the whole picture, frames a second",
                say=_fixed(2),
                optional=True,
            ),
            Measure(column="repeated", label="Frames that repeat the one before", say=_percent, optional=True),
            Measure(column="longest_still_s", label="Longest standstill", say=_fixed(2, " s"), optional=True),
            Measure(column="blocking", label="Blocks of compression (0 none)", say=_fixed(2), optional=True),
            Measure(column="combing", label="Combs of interlacing", say=_fine_percent, optional=True),
            Measure(column="text_area", label="Area covered by text", say=_fine_percent, optional=True),
            Measure(column="bars", label="Area of black bars", say=_percent),
        ),
    ),
    Topic(
        table="faces",
        title="Faces",
        measures=(
            Measure(column="subjects", label="People seen", say=str),
            Measure(column="largest", label="Largest face, of the frame's height", say=_percent),
        ),
    ),
    Topic(
        table="speech",
        title="Speech",
        measures=(
            Measure(column="ratio", label="Part of the clip with speech", say=_percent),
            Measure(column="loudness_lufs", label="Loudness", say=_fixed(1, " LUFS")),
            Measure(column="snr_db", label="Voice above noise", say=_fixed(1, " dB")),
            Measure(column="longest_pause_s", label="Longest pause", say=_fixed(2, " s")),
            Measure(column="silence", label="Silence", say=_percent),
            Measure(column="other", label="Sound that is no speech", say=_percent),
            Measure(column="other_flatness", label="Its spectrum (0 tonal, 1 noise)", say=_fixed(2), optional=True),
            Measure(column="bandwidth_hz", label="Highest frequency", say=_fixed(0, " Hz"), optional=True),
            Measure(column="clipping", label="Clipped", say=_fine_percent),
            Measure(column="language", label="Language", say=str, optional=True),
            Measure(column="text", label="Words", say=str, optional=True),
            Measure(column="log_probability", label="Log-probability of the words", say=_fixed(2), optional=True),
            Measure(column="repeats", label="Longest repetition", say=str, optional=True),
        ),
    ),
    Topic(
        table="vocals",
        title="Voice alone",
        measures=(Measure(column="share", label="Share of the sound's energy", say=_percent, optional=True),),
    ),
    Topic(
        table="sync",
        title="Lips and sound",
        measures=(
            Measure(column="speaker_track", label="Face that speaks", say=lambda track: f"track {track}"),
            Measure(column="offset_frames", label="Sound against lips", say=_offset),
            Measure(column="p_value", label="Chance of such a fit by accident", say=_chance),
            Measure(column="confidence", label="Confidence of the fit", say=_fixed(2)),
            Measure(column="voice_over", label="Voice-over", say=_yes_no),
            Measure(column="drift_frames", label="Drift within the clip, in frames", say=str, optional=True),
            Measure(column="overlap", label="Speech with the speaker in view", say=_percent, optional=True),
        ),
    ),
    Topic(
        table="references",
        title="Reference images",
        measures=(
            Measure(column="count", label="Usable, of anybody seen", say=str),
            Measure(column="speaker_count", label="Usable, of the speaker", say=str, optional=True),
            Measure(column="best_similarity", label="Best similarity (1 same picture)", say=_fixed(2), optional=True),
            Measure(column="caption_similarity", label="Caption against pictures", say=_fixed(3), optional=True),
        ),
    ),
    Topic(
        table="duplicates",
        title="Copies",
        measures=(
            Measure(column="is_duplicate", label="Copy of another clip", say=_yes_no),
            Measure(column="duplicate_of", label="Copy of", say=str, optional=True),
            Measure(column="distance", label="Distance to the nearest (0 the same)", say=_fixed(3), optional=True),
        ),
    ),
    Topic(
        table="captions",
        title="Caption",
        measures=(
            Measure(column="word_count", label="Words", say=str),
            Measure(column="language", label="Language", say=str, optional=True),
            Measure(column="contradiction", label="Against what was measured", say=str, optional=True),
        ),
    ),
    Topic(
        table="looks",
        title="Looks",
        measures=(
            Measure(column="aesthetic", label="Aesthetic score (about 1 to 10)", say=_fixed(2), optional=True),
            Measure(column="caption_similarity", label="Caption against picture", say=_fixed(3), optional=True),
        ),
    ),
)
