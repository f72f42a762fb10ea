"""Rules: comparisons over clip-level columns. `pipeline.decide.grammar` reads them."""

from dataclasses import dataclass

from schemas.tables import CLIP_TABLES, ROW, TABLES

EXTRA_COLUMNS = {"locations": ("licence", "consent"), "clips": ("frames", "width", "height")}
"""Columns beside the clip-level tables': the clip's own, and those of the strictest place its source was found."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A checked rule. `sql` is true, false, or NULL where any of `columns` is NULL."""

    text: str
    sql: str
    columns: tuple[str, ...]


def rule_columns() -> dict[str, tuple[str, ...]]:
    """Table -> the columns that a rule may name."""
    own = {field.name for field in ROW}
    named = {
        table: tuple(field.name for field in TABLES[table].columns if field.name not in own) for table in CLIP_TABLES
    }
    return {**named, **EXTRA_COLUMNS}


def quoted(name: str) -> str:
    """A `table.column` as SQL."""
    table, column = name.split(".")
    return f'"{table}"."{column}"'
