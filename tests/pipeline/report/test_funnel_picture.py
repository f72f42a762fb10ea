"""The funnel as a picture: lengths in proportion, nothing outside the picture, readable on its own."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, PackageLoader

from pipeline.decide.funnel import Funnel, Step
from pipeline.report.funnel_picture import GAP, LEAST, NARROW, WIDE, Layout, Picture, draw

COUNTS = st.tuples(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))


def made(passed: int, failed: int, unknown: int, rule: str = "quality.sharpness >= 0.15") -> Funnel:
    step = Step(tier="subject", rule=rule, passed=passed, failed=failed, unknown=unknown)
    return Funnel(
        sources=3,
        failed_sources=1,
        shots=7,
        clips=passed + failed + unknown,
        clip_hours=2.0,
        steps=[step],
        kept={"subject": 4, "sync": 1},
        kept_hours={"subject": 1.5, "sync": 0.01},
        train=4,
        val=1,
    )


def test_lengths_are_in_proportion() -> None:
    bar = draw(made(60, 30, 10), WIDE).sections[1].bars[0]
    assert [part.kind for part in bar.parts] == ["passed", "failed", "unknown"]
    assert [part.width for part in bar.parts] == pytest.approx([186 - 2 * GAP, 93, 31])
    assert bar.counts == "60 passed · 30 failed · 10 unknown"


@given(counts=COUNTS, layout=st.sampled_from([WIDE, NARROW]))
def test_parts_stay_apart_inside_their_bar_and_are_seen(counts: tuple[int, int, int], layout: Layout) -> None:
    bar = draw(made(*counts), layout).sections[1].bars[0]
    assert [part.number for part in bar.parts] == [number for number in counts if number]
    assert all(part.width >= LEAST - 0.01 for part in bar.parts)
    ends = [part.x + part.width for part in bar.parts]
    for end, after in zip(ends, bar.parts[1:], strict=False):
        assert after.x - end == pytest.approx(GAP, abs=0.02)
    assert max(ends, default=0.0) <= layout.bar_x + layout.bar_width + 0.02


def test_sections_say_what_was_kept_and_nobody_came_this_far() -> None:
    picture = draw(made(0, 0, 0), NARROW)
    assert [section.result for section in picture.sections] == [
        "2.00 h in clips",
        "4 clips kept in it alone, 1.50 h",
        "1 clip kept in it, 36.0 s",
    ]
    assert picture.sections[0].bars[0].counts == "2 read · 1 failed"
    assert picture.sections[1].bars[0].counts == "no clip came this far"


def test_long_rules_are_cut_in_the_picture_and_whole_in_its_titles() -> None:
    rule = "quality.sharpness >= 0.15 and quality.luma between 0.04 and 0.92 & '<b>'"
    picture = draw(made(1, 2, 3, rule), WIDE)
    bar = picture.sections[1].bars[0]
    assert len(bar.label) == WIDE.letters
    assert rule.startswith(bar.label[:-1])
    titles = [element.text for element in _standalone(picture).iter("{http://www.w3.org/2000/svg}title")]
    assert f"{rule}: 1 passed · 2 failed · 3 unknown" in titles


def test_every_pattern_that_is_used_is_in_the_picture() -> None:
    root = _standalone(draw(made(1, 2, 3), NARROW))
    used = {element.attrib["fill"] for element in root.iter() if element.attrib.get("fill", "").startswith("url(")}
    assert used == {f"url(#{element.attrib['id']})" for element in root.iter("{http://www.w3.org/2000/svg}pattern")}


def _standalone(picture: Picture) -> ElementTree.Element:
    environment = Environment(loader=PackageLoader("pipeline.report"), autoescape=True)
    return ElementTree.fromstring(environment.get_template("funnel.svg.html").render(picture=picture, style="a > b {}"))
