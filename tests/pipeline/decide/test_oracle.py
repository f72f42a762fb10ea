"""Random tables and random rules: what `decide` writes equals a plain reading of the rules, row by row, in Python."""

import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.decide.components import components, split_of
from pipeline.decide.config import Caps, DecideConfig, ReferenceBounds
from pipeline.decide.decisions import decide
from pipeline.decide.references import choose_references
from pipeline.decide.surplus import DUPLICATE_RULE
from pipeline.engine.rows import completed
from pipeline.stages.crawl import strictest
from pipeline.store.bundles import write_bundle
from pipeline.store.files import Files
from pipeline.store.parts import to_arrow
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot

Row = dict[str, Any]
Tables = dict[str, list[Row]]
ABOUT = {"backend": "test/1", "fingerprint": "f", "seconds": 0.0}
SOURCES = [f"{number:016x}" for number in (3, 1, 2)]
BOUNDS = ReferenceBounds(lower=0.25, upper=0.75, size=0.25, sharpness=0.25, limit=2)
NUMBERS = [0.0, 0.25, 0.5, 0.75, 1.0, -1.0]
COLUMNS = [
    "quality.sharpness",
    "quality.luma",
    "faces.subjects",
    "references.count",
    "sync.offset_frames",
    "clips.frames",
]

numbers = st.sampled_from([None, *NUMBERS])


@dataclass(frozen=True)
class Rule:
    """A rule as a user writes it, the columns in it, and what it means where none of them is NULL."""

    text: str
    columns: tuple[str, ...]
    means: Callable[[dict[str, Any]], bool]


@st.composite
def comparisons(draw: st.DrawFn) -> Rule:
    column = draw(st.sampled_from(COLUMNS))
    one, other = sorted(draw(st.lists(st.sampled_from(NUMBERS), min_size=2, max_size=2)))
    kind = draw(st.sampled_from(["<", "<=", "=", "<>", ">", ">=", "between", "in", "abs", "licence"]))
    if kind == "licence":
        return Rule(
            "locations.licence in ('cc0', 'cc-by')",
            ("locations.licence",),
            lambda row: row["locations.licence"] in ("cc0", "cc-by"),
        )
    if kind == "between":
        return Rule(f"{column} between {one} and {other}", (column,), lambda row: one <= row[column] <= other)
    if kind == "in":
        return Rule(f"{column} in ({one}, {other})", (column,), lambda row: row[column] in (one, other))
    if kind == "abs":
        return Rule(f"abs({column}) <= {other}", (column,), lambda row: abs(row[column]) <= other)
    operators: dict[str, Callable[[float], bool]] = {
        "<": lambda value: value < one,
        "<=": lambda value: value <= one,
        "=": lambda value: value == one,
        "<>": lambda value: value != one,
        ">": lambda value: value > one,
        ">=": lambda value: value >= one,
    }
    return Rule(f"{column} {kind} {one}", (column,), lambda row: operators[kind](row[column]))


def joined(parts: tuple[Rule, Rule, str]) -> Rule:
    one, other, word = parts
    means: dict[str, Callable[[dict[str, Any]], bool]] = {
        "and": lambda row: one.means(row) and other.means(row),
        "or": lambda row: one.means(row) or other.means(row),
        "and not": lambda row: one.means(row) and not other.means(row),
    }
    return Rule(f"({one.text}) {word} ({other.text})", one.columns + other.columns, means[word])


rules = st.recursive(
    comparisons(),
    lambda inner: st.tuples(inner, inner, st.sampled_from(["and", "or", "and not"])).map(joined),
    max_leaves=4,
)


@st.composite
def all_tables(draw: st.DrawFn) -> Tables:
    found: Tables = defaultdict(list)
    for source in SOURCES:
        for place in range(draw(st.integers(1, 2))):
            licence = draw(st.sampled_from([None, "cc0", "CC-BY", "cc-by", "house rules"]))
            found["locations"].append({"id": f"{source[-1]}{place}", "source_id": source, "licence": licence})
    keys = [f"{source}_{start}_{start + 1}" for source in SOURCES for start in range(draw(st.integers(0, 4)))]
    for key in keys:
        _draw_clip(draw, found, key, keys)
    return found


def _draw_clip(draw: st.DrawFn, found: Tables, key: str, keys: list[str]) -> None:
    known = st.sampled_from([None, "known", "known", "known"])
    clip = {"source_id": key[:16], "frames": draw(st.sampled_from([1, 25])), "audio_sha256": draw(known)}
    found["clips"].append({"id": key, **clip})
    found["quality"].append({"id": key, "sharpness": draw(numbers), "luma": draw(numbers)})
    found["faces"].append({"id": key, "subjects": draw(st.sampled_from([None, 0, 1])), "boxes_sha256": draw(known)})
    found["speech"].append({"id": key})
    speaker, late = draw(st.sampled_from([None, 0, 1])), draw(st.sampled_from([None, 0, 1, -1]))
    found["sync"].append({"id": key, "speaker_track": speaker, "offset_frames": late})
    found["captions"].append({"id": key, "text": draw(known)})
    others = [other for other in keys if other <= key]
    group = draw(st.sampled_from([key, key, *others]))
    # The name of a group is its smallest clip, which is its own.
    named = next((row["group"] for row in found["duplicates"] if row["id"] == group), key)
    worth, copy = draw(st.sampled_from([1.0, 2.0])), draw(st.booleans())
    found["duplicates"].append({"id": key, "group": named, "worth": worth, "is_duplicate": copy})
    for track in range(draw(st.integers(0, 2))):
        person = draw(st.sampled_from([None, "p_a", "p_b", "p_c"]))
        found["identities"].append({"id": f"{key}_t{track}", "clip_id": key, "track": track, "identity": person})
        for rank in range(draw(st.integers(0, 4))):
            seen = {
                "similarity": draw(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
                "size": draw(st.sampled_from([0.125, 0.25])),
                "sharpness": draw(st.sampled_from([None, 0.125, 0.25, 0.5])),
            }
            id_ = f"{key}_t{track}_c{rank}"
            unlike = draw(st.sampled_from([None, 0.0, 0.25, 0.5]))
            place = {"id": id_, "clip_id": key, "track": track, "rank": rank, "difference": unlike}
            found["candidates"].append({**place, **seen})


def score(row: Row) -> float:
    return float(row["similarity"] * (1 + (row["difference"] or 0.0)))


def references_of(found: Tables) -> dict[str, Row]:
    result = {}
    speakers = {row["id"]: row["speaker_track"] for row in found["sync"]}
    for clip in found["clips"]:
        tracks: dict[int, list[Row]] = defaultdict(list)
        mine = [row for row in found["candidates"] if row["clip_id"] == clip["id"]]
        for row in sorted(mine, key=lambda row: (-score(row), row["id"])):
            if 0.25 <= row["similarity"] <= 0.75 and row["size"] >= 0.25 and (row["sharpness"] or 0) >= 0.25:
                tracks[row["track"]].append(row)
        turns = sorted((turn, track, row["id"]) for track, rows in tracks.items() for turn, row in enumerate(rows))
        speaker = speakers[clip["id"]]
        own = [row["id"] for row in tracks.get(speaker, [])]
        result[clip["id"]] = {
            "count": len(turns),
            "speaker_count": None if speaker is None else len(own),
            "best_similarity": max((row["similarity"] for rows in tracks.values() for row in rows), default=None),
            "chosen": [id_ for _, _, id_ in turns][:2],
            "speaker_chosen": own[:2],
        }
    return result


def expected(found: Tables, subject: list[Rule], sync: list[Rule], cap: int | None) -> dict[str, Row]:
    references = references_of(found)
    by_table = {name: {row["id"]: row for row in rows} for name, rows in found.items()}
    keys = [row["id"] for row in found["clips"]]
    links = [(row["id"], f"source {row['source_id']}") for row in found["clips"]]
    links += [(row["clip_id"], row["identity"]) for row in found["identities"] if row["identity"]]
    links += [(row["id"], f"group {row['group']}") for row in found["duplicates"]]
    component = components(keys, links)
    result: dict[str, Row] = {}
    for key in keys:
        licences = [row["licence"] for row in found["locations"] if row["source_id"] == key[:16]]
        seen = {
            f"{table}.{name}": value
            for table in ("quality", "faces", "sync", "clips", "captions")
            for name, value in by_table[table][key].items()
        }
        seen |= {f"references.{name}": value for name, value in references[key].items()}
        seen["locations.licence"] = strictest(licences)
        truth: dict[str, list[bool | None]] = {}
        for tier, given_rules, needed in (
            ("subject", subject, ("captions.text", "faces.boxes_sha256")),
            ("sync", sync, ("sync.speaker_track", "clips.audio_sha256")),
        ):
            truth[tier] = [
                None if any(seen[name] is None for name in rule.columns) else rule.means(seen) for rule in given_rules
            ]
            truth[tier] += [True if seen.get(name) is not None else None for name in needed]
        outcome = "keep" if all(truth["subject"]) else "reject" if False in truth["subject"] else "unknown"
        tier = "none" if outcome != "keep" else "sync" if all(truth["sync"]) else "subject"
        result[key] = {
            "outcome": outcome,
            "tier": tier,
            "component": component[key],
            "split": split_of(component[key], 0.5),
        }
        result[key]["failed"] = sum(value is False for values in truth.values() for value in values)
        result[key]["unknown"] = sum(value is None for values in truth.values() for value in values)
    for group in {row["group"] for row in found["duplicates"]}:
        copies = [
            row["id"] for row in found["duplicates"] if row["group"] == group and result[row["id"]]["outcome"] == "keep"
        ]
        said = by_table["duplicates"]
        copies.sort(
            key=lambda key: (result[key]["tier"] != "sync", said[key]["is_duplicate"], -said[key]["worth"], key)
        )
        for key in copies[1:]:
            result[key] |= {"outcome": "reject", "tier": "none", "failed": result[key]["failed"] + 1, "copy": True}
    if cap is not None:
        for source in SOURCES:
            kept = [key for key in keys if key.startswith(source) and result[key]["outcome"] == "keep"]
            assert len(kept) <= 4
            result[f"kept of {source}"] = {"number": min(len(kept), cap)}
    return result


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    all_tables(), st.lists(rules, min_size=1, max_size=3), st.lists(rules, max_size=2), st.sampled_from([None, 1, 2])
)
def test_decide_equals_a_plain_reading_of_the_rules(
    found: Tables, subject: list[Rule], sync: list[Rule], cap: int | None
) -> None:
    config = DecideConfig(
        subject=tuple(rule.text for rule in subject),
        sync=tuple(rule.text for rule in sync),
        references=BOUNDS,
        val_fraction=0.5,
        caps=Caps(source=cap),
    )
    with tempfile.TemporaryDirectory() as folder:
        files = Files(folder)
        snapshot = Snapshot()
        for name, rows in found.items():
            bundle = write_bundle(files, {name: to_arrow(name, (completed(row, **ABOUT) for row in rows))})
            snapshot = snapshot.with_bundle(*bundle, {})
        relations, about = Relations(files, snapshot), {"folder": Path(folder), "fingerprint": "f"}
        made = choose_references(relations, config.references, "classical", **about)
        relations.show("references", made["references"])
        made |= decide(relations, config, **about)
        rows = {row["id"]: row for row in pq.read_table(made["decisions"]).to_pylist()}
        chosen = {row["id"]: row for row in pq.read_table(made["references"]).to_pylist()}
    wanted = expected(found, subject, sync, cap)
    assert rows.keys() == {row["id"] for row in found["clips"]} == chosen.keys()
    for key, references in references_of(found).items():
        assert {name: chosen[key][name] for name in references} == references
    for key, row in rows.items():
        over = any(rule["rule"].startswith("caps") for rule in row["failed_rules"])
        assert any(rule["rule"] == DUPLICATE_RULE for rule in row["failed_rules"]) == wanted[key].get("copy", False)
        assert (row["component"], row["split"]) == (wanted[key]["component"], wanted[key]["split"])
        assert len(row["failed_rules"]) - over == wanted[key]["failed"]
        assert len(row["unknown_rules"]) == wanted[key]["unknown"]
        assert (row["outcome"], row["tier"]) == (
            ("reject", "none") if over else (wanted[key]["outcome"], wanted[key]["tier"])
        )
        assert over <= (wanted[key]["outcome"] == "keep")
    if cap is not None:
        for source in SOURCES:
            kept = sum(key.startswith(source) and row["outcome"] == "keep" for key, row in rows.items())
            assert kept == wanted[f"kept of {source}"]["number"]
