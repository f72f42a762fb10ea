"""The numbers in the rules: which measurement each bounds, and a rule with another number in its place."""

from dataclasses import dataclass

import sqlglot
from sqlglot import exp


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A number of a rule. `place`: which of the rule's numbers. `absolute`: it bounds the column's absolute value."""

    column: str
    value: float
    place: int
    absolute: bool
    whole: bool


def thresholds(rule: str) -> list[Threshold]:
    """Numbers that a column is compared with, in their order. Other numbers, as in a list, are left out."""
    found: list[Threshold] = []
    for place, node in enumerate(_numbers(_tree(rule))):
        comparison = node.parent
        if not isinstance(comparison, (exp.LT, exp.LTE, exp.GT, exp.GTE, exp.EQ, exp.NEQ, exp.Between)):
            continue
        columns = list(comparison.find_all(exp.Column))
        if len(columns) != 1 or columns[0].parent not in (comparison, columns[0].find_ancestor(exp.Abs)):
            continue
        found.append(
            Threshold(
                column=f"{columns[0].table}.{columns[0].name}",
                value=_value(node),
                place=place,
                absolute=columns[0].find_ancestor(exp.Abs) is not None,
                whole="." not in node.sql() and "e" not in node.sql().lower(),
            )
        )
    return found


def with_value(rule: str, place: int, value: float) -> str:
    """The rule with another number at a place."""
    tree = _tree(rule)
    node = _numbers(tree)[place]
    number = exp.Literal.number(f"{abs(value):.10g}")
    node.replace(exp.Neg(this=number) if value < 0 else number)
    return str(tree.sql(dialect="duckdb"))


def _tree(rule: str) -> exp.Expr:
    return sqlglot.parse_one(rule, into=exp.Condition, dialect="duckdb")


def _numbers(tree: exp.Expr) -> list[exp.Expr]:
    """Numbers in the order of the text; a negative one is one, with its sign."""
    literals = [node for node in tree.find_all(exp.Literal, bfs=False) if not node.is_string]
    return [node.parent if isinstance(node.parent, exp.Neg) else node for node in literals]


def _value(node: exp.Expr) -> float:
    return -float(node.this.this) if isinstance(node, exp.Neg) else float(node.this)
