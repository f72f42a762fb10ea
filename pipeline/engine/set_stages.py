"""What the set stages that measure are given of a run, and what they make of it."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from pipeline.config import CurateConfig
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.other_runs import clips_kept, other_runs
from pipeline.stage import Row, SetRows
from pipeline.stages import candidates, duplicates, identities
from pipeline.store.relations import Relations
from pipeline.verdicts.people import by_hand, edits

BACKENDS = {
    "duplicates": duplicates.BACKEND,
    "identities": identities.BACKEND,
    "candidates": candidates.BACKEND,
}

FETCHED = 4096
"""Rows held at a time."""


def found(stage: str, relations: Relations, config: CurateConfig, folder: Path, fingerprint: str) -> Iterator[SetRows]:
    """What a stage finds in all rows that are committed. `folder`: an empty one, for its index."""
    same = _decided_alike(stage, relations, fingerprint)
    if stage == "duplicates":
        elsewhere = clips_kept(other_runs(config.duplicates.against), fingerprints(config)["quality"])
        yield from duplicates.find_duplicates(
            _signatures(relations),
            config.duplicates,
            folder=folder,
            before=_compared(relations) if same else (),
            elsewhere=elsewhere,
        )
    elif stage == "identities":
        clustered = identities.cluster(
            (part for part in relations.batches("tracks") if len(part)),
            descriptor=config.faces.descriptor,
            folder=folder,
            config=config.identities,
            before=_clustered(relations) if same else None,
        )
        yield from by_hand(clustered, edits(relations))
    else:
        yield from candidates.retrieve(
            people(relations),
            _copies(relations),
            read=relations.files.read,
            config=config.candidates,
            before=_inputs(relations) if same else (),
        )


def people(relations: Relations) -> Iterator[pa.Table]:
    """The tracks of each identity that is seen in several shots, as `candidates.retrieve` takes them."""
    facts = ", ".join(candidates.FACTS)
    query = f"""WITH named AS (SELECT {facts}, embedding, identity
                               FROM tracks JOIN (SELECT id, identity FROM identities) USING (id)
                               WHERE embedding IS NOT NULL)
                SELECT * FROM named
                WHERE identity IN (SELECT identity FROM named GROUP BY 1 HAVING count(DISTINCT shot_id) > 1)
                ORDER BY identity, id"""
    with relations.connection.cursor() as cursor:
        held: pa.Table | None = None
        for batch in cursor.execute(query).to_arrow_reader(FETCHED):
            rows = pa.Table.from_batches([batch])
            rows = rows if held is None else pa.concat_tables([held, rows])
            names = rows["identity"].to_pylist()
            firsts = [place for place, name in enumerate(names) if not place or name != names[place - 1]]
            for first, end in pairwise(firsts):
                yield rows.slice(first, end - first)
            # More of the last one may follow.
            held = rows.slice(firsts[-1])
        if held is not None:
            yield held


def _copies(relations: Relations) -> Iterator[tuple[str, str]]:
    """(shot, group) of clips that are copies of each other."""
    with relations.connection.cursor() as cursor:
        rows = cursor.execute(
            """WITH grouped AS (SELECT id, "group" FROM duplicates WHERE "group" IS NOT NULL)
               SELECT shot_id, "group" FROM clips JOIN grouped USING (id)
               WHERE "group" IN (SELECT "group" FROM grouped GROUP BY 1 HAVING count(*) > 1)"""
        )
        while some := rows.fetchmany(FETCHED):
            yield from some


def _clustered(relations: Relations) -> pa.Table:
    """Who is who as it was computed, before anybody edited it."""
    query = """SELECT id, coalesce(clustered, identity) AS identity, coalesce(component, '') AS component,
                      coalesce(seen, '') AS seen FROM identities"""
    return relations.connection.execute(query).to_arrow_table()


def _inputs(relations: Relations) -> set[str]:
    rows = relations.connection.execute("SELECT DISTINCT inputs FROM candidates WHERE inputs IS NOT NULL").fetchall()
    return {inputs for (inputs,) in rows}


def _decided_alike(stage: str, relations: Relations, fingerprint: str) -> bool:
    """Whether the table in force was found by the same code with the same options."""
    path = relations.snapshot.sets.get(stage)
    return path is not None and path.split("/")[2] == fingerprint and relations.files.exists(path)


def _compared(relations: Relations) -> Iterator[Row]:
    """Which clips were found to be copies of which."""
    for part in relations.batches("duplicates"):
        yield from part.select(["id", "seen", "copies", "apart"]).to_pylist()


def _signatures(relations: Relations) -> Iterator[Row]:
    """What copies are told by, of every clip, sorted by id."""
    names = ("id", "status", "signature", "sharpness", "width", "height")
    rows = relations.connection.execute(
        """SELECT id, quality.status, signature, sharpness, width, height
           FROM quality JOIN (SELECT id, width, height FROM clips) USING (id) ORDER BY id"""
    )
    while some := rows.fetchmany(FETCHED):
        for values in some:
            yield dict(zip(names, values, strict=True))
