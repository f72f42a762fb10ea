"""Identities as the report shows them: how often each is seen, with pictures of the tracks."""

from dataclasses import dataclass

from pipeline.store.media import media_path
from pipeline.store.relations import Relations

FACES = 24
"""Pictures shown of a person; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Face:
    """A track of a person. `picture`: path under the run; None where the track gave none. `at_s`: in the source."""

    track: str
    clip_id: str
    picture: str | None
    file_name: str
    at_s: float
    seen: str | None


@dataclass(frozen=True, kw_only=True)
class Person:
    """An identity. `references`: pictures of this person that kept clips carry. `by_hand`: people say so."""

    name: str
    tracks: int
    clips: int
    sources: int
    kept: int
    references: int
    by_hand: bool
    faces: list[Face]


def people(
    relations: Relations, *, limit: int, offset: int = 0, faces: int = FACES, references: bool = True
) -> list[Person]:
    """Those seen in most clips first. `references`: whether to count them, which takes most of the time."""
    pictures = "pictures" if references else "[]::VARCHAR[]"
    rows = relations.connection.execute(
        f"""
        WITH kept AS (SELECT id, CASE WHEN tier = 'sync' THEN speaker_chosen ELSE chosen END AS pictures
                      FROM decisions JOIN "references" USING (id) WHERE outcome = 'keep'),
        used AS (SELECT clip_id || '_t' || track AS id, count(*) AS times FROM (
                     SELECT candidates.reference_clip_id AS clip_id, candidates.reference_track AS track
                     FROM (SELECT unnest({pictures}) AS id FROM kept) JOIN candidates USING (id)) GROUP BY 1),
        listed AS (
            SELECT identity, count(*) AS tracks, count(DISTINCT clip_id) AS clips,
                   count(DISTINCT split_part(clip_id, '_', 1)) AS sources, bool_or(clustered IS NOT NULL) AS by_hand
            FROM identities WHERE identity IS NOT NULL GROUP BY identity
            ORDER BY clips DESC, identity LIMIT {int(limit)} OFFSET {int(offset)})
        SELECT listed.identity, any_value(listed.tracks), any_value(listed.clips), any_value(listed.sources),
               count(DISTINCT kept.id), coalesce(sum(used.times), 0), any_value(listed.by_hand),
               list(struct_pack(id := i.id, clip := i.clip_id, sha := t.reference_sha256, seen := i.seen)
                    ORDER BY t.size DESC NULLS LAST, i.id)[:{int(faces)}]
        FROM listed JOIN identities AS i USING (identity) LEFT JOIN tracks AS t ON t.id = i.id
        LEFT JOIN kept ON kept.id = i.clip_id LEFT JOIN used ON used.id = i.id
        GROUP BY listed.identity ORDER BY 3 DESC, 1"""
    ).fetchall()
    shown = {face["clip"].split("_")[0] for row in rows for face in row[7]}
    files = dict(
        relations.connection.execute(
            """SELECT source_id, parse_filename(min(uri)) FROM locations
               WHERE source_id IN (SELECT unnest(?)) GROUP BY 1""",
            [sorted(shown)],
        ).fetchall()
    )
    return [
        Person(
            name=name,
            tracks=tracks,
            clips=clips,
            sources=sources,
            kept=kept,
            references=int(references),
            by_hand=by_hand,
            faces=[
                Face(
                    track=face["id"],
                    clip_id=face["clip"],
                    picture=media_path("references", face["sha"]) if face["sha"] else None,
                    file_name=files.get(face["clip"].split("_")[0]) or face["clip"],
                    at_s=int(face["clip"].split("_")[1]) / 1e6,
                    seen=face["seen"],
                )
                for face in found
            ],
        )
        for name, tracks, clips, sources, kept, references, by_hand, found in rows
    ]


def count_people(relations: Relations) -> int:
    """How many identities there are."""
    query = "SELECT count(DISTINCT identity) FROM identities"
    return int(relations.connection.execute(query).fetchall()[0][0])
