"""Which verdicts stand, in SQL: each reviewer's last word on a clip as it looks now, unless it was taken back."""

import hashlib
import json
from collections.abc import Collection

from pipeline.store.relations import Relations, quoted
from pipeline.verdicts.verdict import OF_CLIPS, OF_PEOPLE

NOT_UNDONE = """NOT EXISTS (SELECT 1 FROM verdicts AS undo
    WHERE undo.kind = 'undo' AND undo.undoes = given.id AND undo.reviewer = given.reviewer)"""


def _last_words(within: str) -> str:
    return f"""
    SELECT given.*, CASE WHEN kind IN ('accept', 'reject') THEN 'outcome' ELSE kind END AS facet
    FROM (SELECT * FROM verdicts WHERE kind IN {OF_CLIPS} AND {within.format("clip_id")}) AS given
    JOIN (SELECT id, media_sha256 FROM clips WHERE status = 'ok' AND {within.format("id")}) AS clips
    ON clips.id = given.clip_id AND clips.media_sha256 = given.media_sha256
    WHERE {NOT_UNDONE}
    QUALIFY row_number() OVER (
        PARTITION BY clip_id, facet, given.reviewer, coalesce(reference, '') ORDER BY at_us DESC, given.id DESC) = 1"""


def _standing(within: str) -> str:
    return f"""
    SELECT clip_id AS id,
           bool_or(kind = 'reject') AS rejected,
           bool_or(kind = 'accept') AND NOT bool_or(kind = 'reject') AS accepted,
           bool_or(kind = 'accept') AND bool_or(kind = 'reject') AS disputed,
           bool_or(kind = 'bad_sync') AS bad_sync,
           bool_or(kind = 'fix_caption') AS wants_caption,
           nullif(trim(arg_max(coalesce(caption, ''), (at_us, words.id)) FILTER (kind = 'fix_caption')), '') AS caption,
           string_agg(kind || ' by ' || reviewer || CASE WHEN note = '' THEN '' ELSE ' (' || note || ')' END, '; '
                      ORDER BY at_us, words.id) AS verdict,
           list({{'kind': kind, 'reviewer': reviewer, 'note': note}} ORDER BY at_us, words.id) AS said
    FROM ({_last_words(within)}) AS words GROUP BY clip_id"""


def _bad_references(within: str) -> str:
    return f"SELECT clip_id, reference AS file FROM ({_last_words(within)}) WHERE kind = 'bad_reference'"


EVERY = "true"
LAST_WORDS = _last_words(EVERY)
"""A row for each verdict that stands. One given on other pixels than the clip's does not."""

STANDING = _standing(EVERY)
"""A row for each clip of which something stands. Who rejects prevails over who accepts; of captions the last counts."""

EDITS = f"""
    SELECT kind, tracks, seen FROM verdicts AS given
    WHERE kind IN {OF_PEOPLE} AND {NOT_UNDONE} ORDER BY at_us, given.id"""
"""Who is who by hand, in the order in which it was said."""

BAD_REFERENCES = _bad_references(EVERY)
"""Clip and picture."""


def bad_references_digest(relations: Relations) -> str:
    """Over the pictures that reviewers called bad; empty where there are none."""
    rows = relations.connection.execute(f"SELECT DISTINCT * FROM ({BAD_REFERENCES}) ORDER BY ALL").fetchall()
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] if rows else ""


def create_standing(relations: Relations) -> tuple[bool, bool]:
    """Make the tables `standing` and `bad_references` (clip_id, file). Returns whether either has rows."""
    execute = relations.connection.execute
    execute(f"CREATE OR REPLACE TABLE standing AS {STANDING}")
    execute(f"CREATE OR REPLACE TABLE bad_references AS {BAD_REFERENCES}")
    clips, pictures = (
        execute(f"SELECT count(*) > 0 FROM {table}").fetchall()[0][0] for table in ("standing", "bad_references")
    )
    return bool(clips), bool(pictures)


def update_standing(relations: Relations, clips: Collection[str]) -> None:
    """Bring both tables up to date where something new was said of these clips alone."""
    within = f"{{}} IN ({', '.join(map(quoted, sorted(clips)))})"
    execute = relations.connection.execute
    execute("BEGIN")
    for table, key, query in (
        ("standing", "id", _standing(within)),
        ("bad_references", "clip_id", _bad_references(within)),
    ):
        execute(f"DELETE FROM {table} WHERE {within.format(key)}")
        execute(f"INSERT INTO {table} {query}")
    execute("COMMIT")
