"""The rules that clips missed, each with the values that it saw."""

from itertools import chain

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decide.rules import Rule
from pipeline.decide.verdicts import NEEDED, Rules, every_rule, free_rules

LISTS = ("failed_rules", "unknown_rules", "overruled")

Places = NDArray[np.int64]


def with_missed(
    verdicts: pa.Table,
    measured: pa.Table,
    order: pa.UInt64Array,
    connection: duckdb.DuckDBPyConnection,
    rules: Rules,
    *,
    reviewed: bool,
) -> pa.Table:
    """The rows of `verdicts_query` with their split, their component, and the lists `failed_rules`, `unknown_rules` and
    `overruled`. These are put together here: in DuckDB that took half of the time of all decisions.

    `measured`: what the query looked at, row by row. `order`: in which the rows shall come.
    """
    every, free = every_rule(rules, reviewed), free_rules(rules, reviewed)
    verdicts = verdicts.take(order)
    found = [_missed(verdicts, place, place in free) for place in range(len(every))]
    looked_at = order.to_numpy()
    seen = _seen([looked_at[clips] for clips, _ in found], measured, connection, every)
    clips, lists = (np.concatenate(some) for some in zip(*found, strict=True))
    places = np.repeat(np.arange(len(every)), [len(some) for some, _ in found])
    rows = verdicts.select(["id", "tier", "outcome"])
    for name in ("split", "component"):
        rows = rows.append_column(name, measured[name].take(order))
    # From rule after rule to clip after clip, and of each its rules in order.
    by_clip = np.argsort(clips, kind="stable")
    for number, name in enumerate(LISTS):
        own = by_clip[lists[by_clip] == number]
        ends = np.bincount(clips[own], minlength=len(verdicts)).cumsum()
        rows = rows.append_column(name, _lists(places[own], seen.take(own), ends, every))
    return rows


def _missed(verdicts: pa.Table, place: int, free: bool) -> tuple[Places, NDArray[np.int8]]:
    """The clips that miss a rule, in order, and into which of `LISTS` it goes. None goes into several of them: what an
    accepted clip is spared is true of it, and so neither failed nor unknown."""
    said = verdicts[f"r{place}"]
    lists = np.where(_flags(said.is_null()), 1, 0)
    missed = ~_flags(said)
    if free:
        spared = _flags(verdicts["accepted"]) & ~_flags(verdicts[f"m{place}"])
        lists[spared] = 2
        missed |= spared
    clips = np.flatnonzero(missed)
    return clips, lists[clips].astype(np.int8)


def _flags(said: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Where it is true."""
    flags: NDArray[np.bool_] = said.combine_chunks().fill_null(False).to_numpy(zero_copy_only=False)
    return flags


def _lists(places: Places, seen: pa.StringArray, ends: Places, every: list[tuple[str, Rule]]) -> pa.ListArray:
    """Of each clip the rules at these places, with what they saw. `ends`: how many there are up to each clip's last."""
    tiers, texts = pa.array([tier for tier, _ in every]), pa.array([rule.text for _, rule in every])
    fields = {"tier": tiers.take(places), "rule": texts.take(places), "values": seen}
    entries = pa.StructArray.from_arrays(list(fields.values()), list(fields))
    return pa.ListArray.from_arrays(np.concatenate(([0], ends)).astype(np.int32), entries)


def _seen(
    missed: list[NDArray[np.uint64]],
    measured: pa.Table,
    connection: duckdb.DuckDBPyConnection,
    every: list[tuple[str, Rule]],
) -> pa.StringArray:
    """What a decision shows of the values that each rule saw, rule after rule. `missed`: the rows where."""
    values: dict[tuple[int, str], pa.Array] = {}
    for place, (tier, rule) in enumerate(every):
        # Of what only has to be known nothing is shown: it is missing there, and long elsewhere.
        if rule not in NEEDED[tier]:
            values |= {(place, name): _column(measured, name).take(missed[place]) for name in rule.columns}
    texts = _as_text(values, connection)
    said: list[pa.StringArray] = []
    for place, (_, rule) in enumerate(every):
        null = pa.repeat("NULL", len(missed[place]))
        shown = [(f", {name} = ", texts.get((place, name), null)) for name in rule.columns]
        first, *others = chain.from_iterable(shown)
        said.append(pc.binary_join_element_wise(first.removeprefix(", "), *others, ""))
    return pa.concat_arrays(said)


def _column(measured: pa.Table, name: str) -> pa.Array:
    """A `table.column`."""
    table, column = name.split(".")
    return measured[table].combine_chunks().field(column)


def _as_text(
    values: dict[tuple[int, str], pa.Array], connection: duckdb.DuckDBPyConnection
) -> dict[tuple[int, str], pa.StringArray]:
    """The same values as DuckDB writes them. Those of a type go together, since each query takes its time."""
    texts: dict[tuple[int, str], pa.StringArray] = {}
    for type_ in {array.type for array in values.values()}:
        alike = {key: array for key, array in values.items() if array.type == type_}
        whole = pa.concat_arrays(list(alike.values()))
        # Arrow writes whole numbers just so, and others in its own way: 1 for 1.0.
        text = whole.cast(pa.string()) if pa.types.is_integer(type_) else _cast(whole, connection)
        text = text.fill_null("NULL")
        start = 0
        for key, array in alike.items():
            texts[key] = text.slice(start, len(array))
            start += len(array)
    return texts


def _cast(values: pa.Array, connection: duckdb.DuckDBPyConnection) -> pa.StringArray:
    connection.register("shown", pa.table({"value": values}))
    texts = connection.execute("SELECT CAST(value AS VARCHAR) AS text FROM shown").to_arrow_table()
    return texts["text"].combine_chunks()
