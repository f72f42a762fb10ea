"""What a source's rows are computed with, and which stages that leaves to do: known before anything runs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations

from pipeline.engine.fingerprint import input_digest
from pipeline.flow import CUT, MEASURE, STAGE, downstream
from pipeline.store.snapshots import Snapshot

PENDING = "pending"
"""Folder of parts that wait for their source's commit. A kill leaves them there, and they are found again by name."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Everything beside a source's own bytes that decides its rows.

    `fingerprints`: item stage -> fingerprint. `retries`: item stage -> how often its failed rows were asked for again.
    `removed`: spans (start_us, end_us) that were taken down.
    """

    fingerprints: dict[str, str]
    retries: dict[str, int] = field(default_factory=dict)
    removed: list[list[int]] = field(default_factory=list)

    def to_json(self) -> str:
        """As the ledger holds it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Terms":
        """As the ledger gave it."""
        return cls(**json.loads(text))

    def before_retries(self, stage: str) -> "Iterator[Terms]":
        """Terms before failed rows of the stage, or of some that it stands on, were last asked for again."""
        asked = [name for name in (*CUT, *MEASURE) if self.retries.get(name) and stage in downstream({name})]
        for count in range(1, len(asked) + 1):
            for some in combinations(asked, count):
                retries = {name: times - (name in some) for name, times in self.retries.items()}
                yield replace(self, retries={name: times for name, times in retries.items() if times})


def terms_of(source_id: str, snapshot: Snapshot, fingerprints: Mapping[str, str]) -> Terms:
    """The terms that a configuration with these fingerprints asks for."""
    return Terms(
        fingerprints={name: fingerprints[name] for name in (*CUT, *MEASURE)},
        retries=snapshot.retries.get(source_id, {}),
        removed=snapshot.removed.get(source_id, []),
    )


def lineages(terms: Terms) -> dict[str, str]:
    """Item stage -> 16 hex digits over all that its rows follow from, the stages upstream included."""
    found: dict[str, str] = {}
    for name in (*CUT, *MEASURE):
        again = [f"retry {terms.retries[name]}"] if terms.retries.get(name) else []
        without = [f"without {start} {end}" for start, end in terms.removed] if name == "clips" else []
        upstream = [found[need] for need in STAGE[name].needs]
        # A stage that came with a later version has no fingerprint in older terms, and so another lineage.
        found[name] = input_digest(terms.fingerprints.get(name, ""), *upstream, *again, *without)
    return found


def stale_stages(have: Terms | None, want: Terms) -> set[str]:
    """Stages to be done for a source whose rows were committed under the terms `have`, or not at all."""
    wanted = lineages(want)
    there = {} if have is None else lineages(have)
    different = {name for name in wanted if there.get(name) != wanted[name]}
    return downstream(different) if different else set()


def shots_parts(source_id: str, terms: Terms) -> dict[str, str]:
    """Table -> part of the stage `shots` for a source."""
    return _parts(source_id, ("shots",), lineages(terms), "")


def clips_part(source_id: str, terms: Terms) -> str:
    """The part of the stage `clips` for a source."""
    return _parts(source_id, ("clips",), lineages(terms), "")["clips"]


def unit_parts(source_id: str, start: int, terms: Terms) -> dict[str, str]:
    """Table -> part of every clip-level stage for the unit that begins at the source's `start`-th clip."""
    return _parts(source_id, MEASURE, lineages(terms), f"-{start}")


def pending_folder(source_id: str) -> str:
    """Where the parts of a source wait for its commit."""
    return f"{PENDING}/{source_id}"


def _parts(source_id: str, stages: Iterable[str], lineage: Mapping[str, str], end: str) -> dict[str, str]:
    folder = pending_folder(source_id)
    return {table: f"{folder}/{table}-{lineage[name]}{end}.parquet" for name in stages for table in STAGE[name].tables}
