"""The parts that set stages make: each is named by all that it was computed from, and known before the stage runs."""

from pipeline.config import CurateConfig
from pipeline.engine.fingerprint import fingerprints, input_digest
from pipeline.engine.other_runs import other_runs
from pipeline.engine.plan import Terms, lineages
from pipeline.flow import STAGE
from pipeline.store.parts import part_path
from pipeline.store.relations import Relations
from pipeline.verdicts.people import edits, edits_digest
from pipeline.verdicts.standing import bad_references_digest


def set_parts(stage: str, relations: Relations, config: CurateConfig) -> dict[str, str]:
    """Table -> the part that a set stage makes of this snapshot; known before it runs."""
    fingerprint = fingerprints(config)[stage]
    needs = ("shots", "clips", *STAGE[stage].needs)
    upstream = [rows_digest(relations, tuple(need for need in needs if STAGE[need].per != "set"))]
    upstream += [
        relations.snapshot.sets.get(table, "")
        for need in needs
        if STAGE[need].per == "set"
        for table in STAGE[need].tables
    ]
    if stage == "references":
        upstream += [bad] if (bad := bad_references_digest(relations)) else []
    if stage == "decide":
        upstream.append(places_digest(relations))
        upstream += [said] if (said := relations.snapshot.sets.get("verdicts")) else []
    if stage == "identities":
        # Who is who by hand; other verdicts change no identity.
        upstream += [edited] if (edited := edits_digest(edits(relations))) else []
    if stage == "duplicates":
        upstream += [run.snapshot.sets["decisions"] for run in other_runs(config.duplicates.against)]
    digest = input_digest(*upstream)
    return {table: part_path(table, fingerprint, digest) for table in STAGE[stage].tables}


def rows_digest(relations: Relations, stages: tuple[str, ...]) -> str:
    """Over the committed rows of these item stages, wherever they lie: which sources, and what each follows from.

    Hashes of ids are added up, so that no order and no list of a million sources is needed.
    """
    sums: dict[str, list[int]] = {}
    for text, *numbers in relations.ledger_sums:
        lineage = lineages(Terms.from_json(text))
        followed = " ".join(lineage[stage] for stage in stages)
        total = sums.get(followed, [0, 0, 0])
        sums[followed] = [one + other for one, other in zip(total, numbers, strict=True)]
    return input_digest(*(f"{followed} {numbers}" for followed, numbers in sorted(sums.items())))


def places_digest(relations: Relations) -> str:
    """Over what the locations say of the use of each source."""
    query = """WITH said AS (SELECT concat_ws('|', id, source_id, coalesce(licence, '-'), coalesce(consent, '-'))
                             AS text FROM locations)
               SELECT count(*), sum(md5_number_lower(text)::HUGEINT), sum(md5_number_upper(text)::HUGEINT) FROM said"""
    return input_digest(str(relations.connection.execute(query).fetchall()[0]))
