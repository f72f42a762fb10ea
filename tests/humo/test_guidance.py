"""The guidance formulas, as sums of weighted passes."""

import pytest

from humo.generation import sampler
from humo.guidance import Contrast, Formula, Guidance, official_1_7b, official_17b, paper

VELOCITIES = {"TIA": 1.0, "TI": 2.5, "TA": -0.7, "T": 0.3, "I": 1.9, "0": -2.1}


def guided(guidance: Guidance, mode: str, timestep: float) -> float:
    return sum(weight * VELOCITIES[name] for name, weight in guidance.weights(mode, timestep).items())


def test_17b_tia_before_and_after_the_switch() -> None:
    v, guidance = VELOCITIES, official_17b()
    early = 5.5 * (v["TIA"] - v["TI"]) + 5 * (v["TI"] - v["I"]) + v["I"]
    late = 5.5 * (v["TIA"] - v["TI"]) + 3 * (v["TI"] - v["0"]) + v["0"]
    assert guided(guidance, "TIA", 980.5) == pytest.approx(early)
    assert guided(guidance, "TIA", 980) == pytest.approx(late)
    assert set(guidance.weights("TIA", 999)) == {"TIA", "TI", "I"}
    assert set(guidance.weights("TIA", 500)) == {"TIA", "TI", "0"}


def test_17b_switches_after_the_first_5_of_50_steps() -> None:
    passes = [set(official_17b().weights("TIA", float(t))) for t in sampler(steps=50, shift=5.0).timesteps]
    assert ["I" in names for names in passes] == [True] * 5 + [False] * 45
    assert {len(names) for names in passes} == {3}


def test_17b_ta() -> None:
    v = VELOCITIES
    expected = 5.5 * (v["TA"] - v["T"]) + 5 * (v["T"] - v["0"]) + v["0"]
    assert guided(official_17b(), "TA", 999) == guided(official_17b(), "TA", 1) == pytest.approx(expected)


def test_1_7b() -> None:
    v, guidance = VELOCITIES, official_1_7b(text=6.0)
    ta = 7.5 * (v["TA"] - v["T"]) + 6 * (v["T"] - v["0"]) + v["0"]
    assert guided(guidance, "TA", 700) == pytest.approx(ta)
    assert guided(guidance, "TIA", 700) == pytest.approx(4 * (v["TIA"] - v["TA"]) + ta)
    assert set(guidance.weights("TIA", 999)) == set(guidance.weights("TIA", 1)) == {"TIA", "TA", "T", "0"}
    assert set(guidance.weights("TA", 700)) == {"TA", "T", "0"}


def test_1_7b_needs_no_text_pass_at_equal_scales() -> None:
    # s(TA-T) + s(T-0) + 0: T cancels, so its pass is not made.
    v, guidance = VELOCITIES, official_1_7b()
    ta = 7.5 * (v["TA"] - v["T"]) + 7.5 * (v["T"] - v["0"]) + v["0"]
    assert guided(guidance, "TIA", 700) == pytest.approx(4 * (v["TIA"] - v["TA"]) + ta)
    assert set(guidance.weights("TA", 700)) == {"TA", "0"}
    assert set(guidance.weights("TIA", 700)) == {"TIA", "TA", "0"}
    assert set(official_1_7b(text=0.1 + 0.2, audio=0.3).weights("TA", 700)) == {"TA", "0"}


def test_papers_equation_4_with_scales_that_change() -> None:
    v = VELOCITIES
    guidance = paper(text=lambda t: 3 + t / 500, image=2.0, audio=lambda t: 6 - t / 250)
    for t in (0, 400, 1000):
        expected = (
            (6 - t / 250) * (v["TIA"] - v["TI"]) + 2 * (v["TI"] - v["T"]) + (3 + t / 500) * (v["T"] - v["0"]) + v["0"]
        )
        assert guided(guidance, "TIA", t) == pytest.approx(expected)


@pytest.mark.parametrize("guidance", [official_17b(), official_1_7b(), paper(text=5.0, image=2.0, audio=4.0)])
@pytest.mark.parametrize("mode", ["TIA", "TA", "TI", "T"])
@pytest.mark.parametrize("timestep", [999.0, 981.0, 300.0])
def test_every_mode_has_a_formula_whose_weights_sum_to_one(guidance: Guidance, mode: str, timestep: float) -> None:
    weights = guidance.weights(mode, timestep)
    assert sum(weights.values()) == pytest.approx(1)
    assert all(set(name) <= set(mode) | {"0"} for name in weights)
    assert mode in weights


def test_scales_of_one_leave_a_single_pass() -> None:
    assert paper(text=1.0, image=1.0, audio=1.0).weights("TIA", 500) == {"TIA": 1.0}


def test_a_guidance_of_ones_own() -> None:
    early = Formula(contrasts=(Contrast(3.0, "TI", "0"),), above=900)
    late = Formula(contrasts=(Contrast(2.0, "TI", "T"),), base="T")
    guidance = Guidance({"TI": (early, late)})
    assert guidance.weights("TI", 950) == {"TI": 3.0, "0": -2.0}
    assert guidance.weights("TI", 900) == {"TI": 2.0, "T": -1.0}
    with pytest.raises(ValueError, match="no guidance for the mode TIA; there is one for TI"):
        guidance.weights("TIA", 950)
