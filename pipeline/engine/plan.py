"""Which parts a source will have: known from fingerprints and names alone, before anything runs.

`retries` says how often a stage's failed rows of the source were asked for again; each time gives its parts new names.
"""

from collections.abc import Mapping, Sequence

from pipeline.engine.fingerprint import input_digest
from pipeline.engine.unit import CLIPS_PER_UNIT
from pipeline.flow import CUT, MEASURE, STAGE, downstream
from pipeline.store.parts import part_path
from pipeline.store.snapshots import Snapshot

Retries = Mapping[str, int]
"""Item stage -> times, of one source."""


def shots_parts(source_id: str, fingerprints: dict[str, str], retries: Retries) -> dict[str, str]:
    """Table -> part of the stage `shots` for a source."""
    digest = input_digest(source_id, *_again("shots", retries))
    return {table: part_path(table, fingerprints["shots"], digest) for table in STAGE["shots"].tables}


def clips_part_of(
    shots_part: str, fingerprints: dict[str, str], retries: Retries, removed: Sequence[Sequence[int]]
) -> str:
    """The part of the stage `clips` made of these shots, without the spans that were taken down."""
    return part_path(
        "clips",
        fingerprints["clips"],
        input_digest(shots_part, *_again("clips", retries), *(f"without {start} {end}" for start, end in removed)),
    )


def unit_parts(clips_part: str, start: int, fingerprints: dict[str, str], retries: Retries) -> dict[str, str]:
    """Table -> part of every clip-level stage for the unit that begins at the `start`-th clip of `clips_part`."""
    paths = {"clips": clips_part}
    for name in MEASURE:
        stage = STAGE[name]
        needs = [paths[STAGE[need].tables[0]] for need in stage.needs]
        digest = input_digest(start, CLIPS_PER_UNIT, *needs, *_again(name, retries))
        paths.update({table: part_path(table, fingerprints[name], digest) for table in stage.tables})
    del paths["clips"]
    return paths


def missing_stages(source_id: str, snapshot: Snapshot, fingerprints: dict[str, str]) -> set[str]:
    """Item stages whose committed parts of this source are not those that this configuration asks for."""
    retries = snapshot.retries.get(source_id, {})
    shots = shots_parts(source_id, fingerprints, retries)
    clips = clips_part_of(shots["shots"], fingerprints, retries, snapshot.removed.get(source_id, []))
    have = {
        table: groups.get(source_id)
        for table, groups in snapshot.parts.items()
        if any(table in STAGE[name].tables for name in (*CUT, *MEASURE))
    }
    if any(have.get(table) != [path] for table, path in shots.items()):
        return downstream({"shots"})
    if have.get("clips") != [clips]:
        return downstream({"clips"})
    units = len(have.get("quality") or [])
    wanted = [unit_parts(clips, number * CLIPS_PER_UNIT, fingerprints, retries) for number in range(units)]
    different = {
        name
        for name in MEASURE
        for table in STAGE[name].tables
        if units and have.get(table) != [paths[table] for paths in wanted]
    }
    return downstream(different) if different else set()


def _again(stage: str, retries: Retries) -> list[str]:
    return [f"retry {retries[stage]}"] if retries.get(stage) else []
