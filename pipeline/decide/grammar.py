"""The grammar of rules: parsed and checked by sqlglot, never passed to SQL as text."""

import sqlglot
from sqlglot import exp

from pipeline.decide.rules import Rule, quoted, rule_columns
from schemas.errors import UserError

_CONDITIONS = (
    exp.And,
    exp.Or,
    exp.Not,
    exp.Paren,
    exp.EQ,
    exp.NEQ,
    exp.LT,
    exp.LTE,
    exp.GT,
    exp.GTE,
    exp.Between,
    exp.In,
)

_ALLOWED = (
    *_CONDITIONS,
    exp.Abs,
    exp.Neg,
    exp.Literal,
    exp.Boolean,
    exp.Column,
    exp.Identifier,
)


def parse_rule(text: str) -> Rule:
    """Check a rule: comparisons, between, in, and / or / not, abs over known columns. Raises UserError otherwise."""
    try:
        tree = sqlglot.parse_one(text, into=exp.Condition, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        raise UserError(f"the rule {text!r} cannot be read as one comparison") from error
    if not isinstance(tree.unnest(), _CONDITIONS):
        raise UserError(f"the rule {text!r} is no comparison")
    columns: list[str] = []
    for node in tree.walk():
        if not isinstance(node, _ALLOWED):
            raise UserError(f"the rule {text!r} may not use {type(node).__name__.upper()!r}")
        if isinstance(node, exp.Column):
            columns.append(_checked_column(node, text))
    if not columns:
        raise UserError(f"the rule {text!r} names no column")
    for node in tree.walk():
        _check_operands(node, text)
    names = tuple(dict.fromkeys(columns))
    missing = " OR ".join(f"{quoted(name)} IS NULL" for name in names)
    condition = tree.transform(_quote).sql(dialect="duckdb")
    return Rule(text=text, sql=f"CASE WHEN {missing} THEN NULL ELSE ({condition}) END", columns=names)


def _check_operands(node: exp.Expr, text: str) -> None:
    """`and`, `or` and `not` join conditions; comparisons compare values, of which `abs` and a sign make others."""
    parts = [part.unnest() for part in node.iter_expressions()]
    if isinstance(node, (exp.And, exp.Or, exp.Not)):
        wrong = [part for part in parts if not isinstance(part, _CONDITIONS)]
    elif isinstance(node, (*_CONDITIONS, exp.Abs, exp.Neg)) and not isinstance(node, exp.Paren):
        wrong = [part for part in parts if isinstance(part, _CONDITIONS)]
    else:
        wrong = []
    if wrong:
        raise UserError(f"the rule {text!r} uses {wrong[0].sql(dialect='duckdb')!r} where it cannot stand")


def _checked_column(node: exp.Column, text: str) -> str:
    table, column = node.table, node.name
    known = rule_columns()
    if table not in known or column not in known[table] or node.args.get("db") is not None:
        name = f"{table}.{column}" if table else column
        raise UserError(f"the rule {text!r} names {name!r}, which is no column that rules can use")
    return f"{table}.{column}"


def _quote(node: exp.Expression) -> exp.Expression:
    return exp.column(node.name, table=node.table, quoted=True) if isinstance(node, exp.Column) else node
