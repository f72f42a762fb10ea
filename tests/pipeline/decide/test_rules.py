"""Rules: what may be said, what NULL does, and what a hostile rule gets."""

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decide.grammar import parse_rule
from schemas.errors import UserError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quality.sharpnes >= 0.1", "no column"),
        ("sharpness >= 0.1", "no column"),
        ("quality.sharpness is null", "no comparison"),
        ("quality.sharpness >= (select 1)", "'SUBQUERY'"),
        ("quality.sharpness >= 0.1; drop table clips", "cannot be read"),
        ("quality.sharpness + 1 > 0", "'ADD'"),
        ("quality.sharpness", "no comparison"),
        ("(quality.luma)", "no comparison"),
        ("((quality.luma))", "no comparison"),
        ("abs((quality.luma > 1)) > 2", "where it cannot stand"),
        ("1 = 1", "names no column"),
        ("lower(captions.text) = 'a'", "'LOWER'"),
        ("not quality.sharpness is null", "'IS'"),
        ("read_text('/etc/passwd') = captions.text", "may not use"),
        ("main.quality.sharpness > 1", "no column"),
        ("quality.sharpness >", "cannot be read"),
        ("", "cannot be read"),
        ("coalesce(quality.sharpness, 1) > 0", "'COALESCE'"),
        ("1 < quality.luma < 3", "where it cannot stand"),
        ("not quality.luma", "where it cannot stand"),
        ("quality.luma > 1 and 1", "where it cannot stand"),
        ("quality.luma > 1 or true", "where it cannot stand"),
    ],
)
def test_what_no_rule_may_say(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_rule(text)
    assert "\n" not in str(caught.value)


def evaluate(text: str, sharpness: float | None, luma: float | None) -> bool | None:
    connection = duckdb.connect()
    values = {"sharpness": pa.array([sharpness], pa.float64()), "luma": pa.array([luma], pa.float64())}
    connection.register("quality", pa.table(values))
    result: bool | None = connection.execute(f"SELECT {parse_rule(text).sql} FROM quality").fetchall()[0][0]
    return result


numbers = st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]))


@given(sharpness=numbers, luma=numbers, bound=st.sampled_from([0.0, 0.25, 0.5]))
def test_a_null_makes_the_rule_unknown_and_else_it_is_plain_logic(
    sharpness: float | None, luma: float | None, bound: float
) -> None:
    rule = f"abs(quality.sharpness) >= {bound} or not (quality.luma between 0 and {bound})"
    found = evaluate(rule, sharpness, luma)
    if sharpness is None or luma is None:
        assert found is None
    else:
        assert found == (abs(sharpness) >= bound or not 0 <= luma <= bound)


def test_null_is_unknown_even_where_sql_would_know() -> None:
    assert evaluate("quality.sharpness >= 0 or quality.luma >= 0", 1.0, None) is None
    assert evaluate("quality.sharpness in (1, 2)", 1.0, None) is True
