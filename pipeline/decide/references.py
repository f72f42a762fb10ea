"""Which candidates become references, within the bounds in force."""

from pathlib import Path

import pyarrow as pa

from pipeline.decide.config import ReferenceBounds
from pipeline.decide.ranges import RowWriter, in_turn, ranges
from pipeline.store.relations import Relations
from pipeline.store.spans import IdRange
from pipeline.verdicts.standing import create_standing

BACKEND = "references/1"

SCORE = "similarity::DOUBLE * (1 + coalesce(difference, 0)::DOUBLE)"
"""Identity times difference: the same person, looking as unlike as the bounds allow."""


def choose_references(
    relations: Relations,
    bounds: ReferenceBounds,
    descriptor: str,
    *,
    folder: Path,
    fingerprint: str,
    looks: bool = False,
) -> dict[str, Path]:
    """Table -> a file of its rows in `folder`, for the table `references`.

    `descriptor`: what measured similarity, as `faces.descriptor` names it; bounds that are not given follow from it.
    `looks`: whether pictures and captions have embeddings, so that they can be compared.
    """
    _, bad = create_standing(relations)

    def chosen(within: IdRange) -> pa.Table:
        with relations.connection.cursor() as cursor:
            query = references_query(bounds, descriptor, within, bad=bad)
            return cursor.execute(agreement_query(query) if looks else query).to_arrow_table().sort_by("id")

    made = folder / "references"
    with RowWriter(made, "references", backend=BACKEND, fingerprint=fingerprint) as references:
        for rows in in_turn(chosen, ranges(relations)):
            references.write(rows)
    return {"references": made}


def agreement_query(references: str) -> str:
    """SQL of these rows with `caption_similarity`: the least cosine of the clip's caption and a reference chosen."""
    return f"""
        WITH refs AS ({references}), pairs AS (
            SELECT id, unnest(list_distinct(list_concat(chosen, speaker_chosen))) AS candidate FROM refs
        ), agreed AS (
            SELECT pairs.id, min(list_dot_product(looks.caption_embedding, seen.embedding)) AS caption_similarity
            FROM pairs JOIN candidates ON candidates.id = pairs.candidate
            JOIN look_tracks AS seen
                ON seen.clip_id = candidates.reference_clip_id AND seen.track = candidates.reference_track
            JOIN looks ON looks.id = pairs.id
            WHERE len(looks.caption_embedding) = len(seen.embedding) GROUP BY pairs.id
        )
        SELECT refs.*, agreed.caption_similarity FROM refs LEFT JOIN agreed USING (id) ORDER BY id"""


def references_query(bounds: ReferenceBounds, descriptor: str, within: IdRange, *, bad: bool = False) -> str:
    """SQL of a row for every clip of a range: how many references it has, and which candidates they are, best first.

    A clip's references come from all its tracks in turn, the best of each first, so that with several people none is
    forgotten; those of the track that speaks are also given on their own. Equally good ones are taken by rank. The ids
    of the chosen are put together as `pipeline.stages.candidates` does: reading them all would take half of the time.

    Args:
        bounds: what may be packed.
        descriptor: what measured similarity, as `faces.descriptor` names it.
        within: the range of clips.
        bad: whether there are pictures that reviewers called bad, in the table `bad_references`.
    """
    but = "AND (clip_id, file) NOT IN (SELECT clip_id, file FROM bad_references)" if bad else ""
    lower, upper = bounds.similarity(descriptor)
    limit = bounds.limit
    return f"""
        WITH tracks AS (
            SELECT clip_id, track, count(*) AS found, max(similarity) AS best,
                   min_by(rank, (-({SCORE}), rank), {limit}) AS ranks
            FROM candidates
            WHERE {within.sql("clip_id")} AND size >= {bounds.size}::FLOAT
              AND coalesce(sharpness, 0) >= {bounds.sharpness}::FLOAT
              AND similarity BETWEEN {lower}::DOUBLE AND {upper}::DOUBLE {but}
            GROUP BY clip_id, track
        ), named AS (
            SELECT *, list_transform(ranks, lambda rank: clip_id || '_t' || track || '_c' || rank) AS ids FROM tracks
        ), turns AS (
            SELECT clip_id, track, unnest(ids) AS id, generate_subscripts(ids, 1) AS turn FROM named
        ), chosen AS (
            SELECT clip_id, min_by(id, (turn, track), {limit}) AS ids FROM turns GROUP BY clip_id
        ), counted AS (
            SELECT clip_id, sum(found)::INTEGER AS found, max(best) AS best FROM tracks GROUP BY clip_id
        ), speakers AS (
            SELECT id, speaker_track FROM sync WHERE {within.sql()} AND speaker_track IS NOT NULL
        )
        SELECT clips.id, coalesce(counted.found, 0) AS count,
               CASE WHEN speakers.id IS NOT NULL THEN coalesce(own.found, 0)::INTEGER END AS speaker_count,
               counted.best AS best_similarity,
               coalesce(chosen.ids, []) AS chosen, coalesce(own.ids, []) AS speaker_chosen
        FROM (SELECT id FROM clips WHERE {within.sql()} AND status = 'ok') AS clips
        LEFT JOIN counted ON counted.clip_id = clips.id
        LEFT JOIN chosen ON chosen.clip_id = clips.id
        LEFT JOIN speakers ON speakers.id = clips.id
        LEFT JOIN named AS own ON own.clip_id = clips.id AND own.track = speakers.speaker_track"""
