"""Sample sizes, intervals, agreement, CSV and thresholds against known answers."""

import csv
import io

import pytest

from pipeline.decide.thresholds import thresholds, with_value
from pipeline.verdicts.agreement import kappa
from pipeline.verdicts.audit import estimate, sample_size
from pipeline.verdicts.export import as_csv


def test_sample_sizes_are_cochrans() -> None:
    # 1.96^2 * 0.95 * 0.05 / 0.02^2 = 456.2; textbook: 385 for 5 % at a half.
    assert sample_size(half_width=0.02, expected=0.95, population=10**9) == 457
    assert sample_size(half_width=0.05, expected=0.5, population=10**9) == 385
    assert sample_size(half_width=0.05, expected=0.5, population=1000) == 278
    assert sample_size(half_width=0.02, expected=0.95, population=22) == 22
    assert sample_size(half_width=0.02, expected=0.95, population=0) == 0


def test_the_interval_is_wilsons() -> None:
    found = estimate(size=200, judged=200, good=193, population=10**9)
    assert found.share == pytest.approx(0.965)
    assert (found.low, found.high) == (pytest.approx(0.9295, abs=2e-4), pytest.approx(0.9829, abs=2e-4))
    assert found.words == "96.5% (93.0% to 98.3%)"
    every = estimate(size=10, judged=10, good=10, population=10**9)
    assert every.low == pytest.approx(0.7225, abs=2e-4)
    assert every.high == 1.0


@pytest.mark.parametrize("population", [50, 500, 5_000, 500_000])
@pytest.mark.parametrize("half_width", [0.02, 0.05])
def test_an_audit_is_as_precise_as_it_was_asked_to_be(population: int, half_width: float) -> None:
    size = sample_size(half_width=half_width, expected=0.9, population=population)
    found = estimate(size=size, judged=size, good=round(0.9 * size), population=population)
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(half_width, rel=0.15)


@pytest.mark.parametrize(("good", "words"), [(43, "100.0% (100.0% to 100.0%)"), (0, "0.0% (0.0% to 0.0%)")])
def test_who_judged_every_clip_knows_the_share(good: int, words: str) -> None:
    assert estimate(size=43, judged=43, good=good, population=43).words == words


def test_agreement_is_cohens_kappa() -> None:
    # Cohen's own kind of table: 20 both yes, 15 both no, 5 and 10 apart.
    assert kappa(50, 35, 25, 30) == pytest.approx(0.4)
    assert kappa(10, 10, 4, 4) == pytest.approx(1.0)
    assert kappa(10, 10, 10, 10) is None


def test_csv_holds_what_was_said_and_no_formula() -> None:
    row = dict.fromkeys(("clip_id", "media_sha256", "caption", "reference", "undoes", "audit", "tracks"))
    said = {
        **row,
        "id": "1",
        "at_us": 1_700_000_000_000_000,
        "reviewer": "@Ann",
        "kind": "reject",
        "note": 'a,"b"\n=1+1',
    }
    (found,) = csv.DictReader(io.StringIO(as_csv([said])))
    assert found["reviewer"] == "'@Ann"
    assert found["note"] == 'a,"b"\n=1+1'
    for text in ("=1", " =1", "\n+1", "\t@x", "\uff1d1", "\u00a0\uff0b1", "\uff0d1", "\uff20x", "\tx"):
        (found,) = csv.DictReader(io.StringIO(as_csv([{**said, "note": text}]), newline=""))
        assert found["note"] == f"'{text}", text
    (found,) = csv.DictReader(io.StringIO(as_csv([said])))
    assert found["at"] == "2023-11-14T22:13:20.000+00:00"


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("quality.sharpness >= 0.4", [("quality.sharpness", 0.4, False)]),
        ("quality.luma between -0.04 and 0.92", [("quality.luma", -0.04, False), ("quality.luma", 0.92, False)]),
        ("abs(sync.offset_frames) <= 3", [("sync.offset_frames", 3.0, True)]),
        ("faces.subjects in (1, 2)", []),
        ("faces.subjects >= 1 and speech.ratio > 0.5", [("faces.subjects", 1.0, False), ("speech.ratio", 0.5, False)]),
    ],
)
def test_thresholds_are_found(rule: str, found: list[tuple[str, float, bool]]) -> None:
    assert [(one.column, one.value, one.absolute) for one in thresholds(rule)] == found
    for one in thresholds(rule):
        moved = thresholds(with_value(rule, one.place, -7.25))
        assert [other.value for other in moved] == [
            -7.25 if other.place == one.place else other.value for other in thresholds(rule)
        ]
