"""Measurements in plain words, and colours that can be read."""

import re
from importlib.resources import files as package_files

import pytest

from pipeline.report.measurements import measurements
from pipeline.report.words import TOPICS, count, duration
from schemas.tables import CLIP_TABLES, TABLES


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1.0 min"), (3599, "60.0 min"), (12_345_000, "3,429.17 h")],
)
def test_lengths(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_counts() -> None:
    assert [count(0, "clip"), count(1, "clip"), count(12_345, "clip")] == ["0 clips", "1 clip", "12,345 clips"]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("sync.offset_frames", 0, "none: in step"),
        ("sync.offset_frames", 8, "+8 frames (320 ms): the sound is late"),
        ("sync.offset_frames", -3, "-3 frames (120 ms): the sound is early"),
        ("sync.p_value", 0.0002, "0.0002"),
        ("sync.p_value", 0.00002, "under 0.0001"),
        ("sync.voice_over", False, "no"),
        ("speech.ratio", 0.784, "78%"),
        ("speech.snr_db", 17.96, "18.0 dB"),
        ("quality.motion", 0.0123, "1.2%"),
    ],
)
def test_values_with_units(column: str, value: float, said: str) -> None:
    table, _, name = column.partition(".")
    measures = {measure.column: measure for topic in TOPICS if topic.table == table for measure in topic.measures}
    assert measures[name].say(value) == said


def test_topics_name_columns_of_every_clip_level_table() -> None:
    assert sorted(topic.table for topic in TOPICS) == sorted(CLIP_TABLES)
    for topic in TOPICS:
        assert {measure.column for measure in topic.measures} <= set(TABLES[topic.table].schema.names)


def test_every_measurement_is_explained() -> None:
    every = {one.column: one.meaning for one in measurements()}
    assert len(every) > 40
    for column, meaning in every.items():
        assert meaning.endswith("."), column
        assert column.split(".")[1] not in meaning or "_" not in column.split(".")[1], column


def test_text_can_be_read_in_light_and_dark() -> None:
    """Contrast of at least 4.5 to 1 between each text colour and what it stands on (WCAG 2.2, 1.4.3)."""
    css = package_files("pipeline.report").joinpath("assets", "report.css").read_text()
    schemes = [dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)]
    assert len(schemes) == 2
    for colours in schemes:
        pairs = [(text, ground) for text in ("text", "quiet", "link", "out", "open") for ground in ("paper", "card")]
        pairs += [(badge, f"{badge}-ground") for badge in ("kept", "part", "out", "open")]
        for text, ground in pairs:
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
