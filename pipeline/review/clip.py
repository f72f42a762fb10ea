"""Everything about one clip that its page shows."""

import io
import json
from dataclasses import dataclass
from typing import Any

import soundfile

from pipeline.report.words import TOPICS
from pipeline.review.gallery import Wanted, neighbour_query
from pipeline.review.judged import judged
from pipeline.review.session import Session
from pipeline.store.media import get_media, media_path
from pipeline.trace import story_of, verdicts_of
from schemas.sample import FPS, SAMPLE_RATE
from schemas.tables import CLIP_TABLES

WAVE_WIDTH, WAVE_HEIGHT = 1000, 80
"""Of the waveform, in units of its picture."""


@dataclass(frozen=True, kw_only=True)
class Wave:
    """The sound as a path, the spans of speech, and the sync offset; lengths in units of the picture."""

    path: str
    seconds: float
    speech: list[tuple[float, float]]
    offset: tuple[float, float] | None
    offset_words: str


def clip_facts(session: Session, key: str, wanted: Wanted) -> dict[str, Any] | None:
    """For the template; None where there is no such clip. `wanted`: the gallery that it was opened from."""
    rows = session.query("SELECT * FROM gallery WHERE id = ?", [key])
    if not rows:
        return None
    clip = rows[0]
    tables = {table: _row(session, table, key) for table in CLIP_TABLES}
    decision, standing = _row(session, "decisions", key), _row(session, "standing", key)
    corrected = (standing or {}).get("caption")
    opened = session.opened
    said = verdicts_of(clip, session.said_of(key), undone=session.undone(), heard=opened.heard)
    story = {**story_of(session.relations, key), "verdicts": said}
    boxes = (tables["faces"] or {}).get("boxes_sha256")
    facts = {
        "clip": clip,
        "wanted": wanted,
        "video": media_path("clips", clip["media_sha256"]),
        "sound": media_path("audio", clip["audio_sha256"]) if clip["audio_sha256"] else None,
        "boxes": media_path("faces", boxes) if boxes else None,
        "speaker": (tables["sync"] or {}).get("speaker_track"),
        "caption": clip["caption"] if corrected is None else corrected,
        "corrected": corrected is not None,
        "decision_made": decision is not None,
        "rules": judged(session, opened.config.decide, key, decision),
        "wave": _wave(session, clip, tables),
        "words": _words((tables["speech"] or {}).get("word_times")),
        "topics": [(topic, tables[topic.table]) for topic in TOPICS if tables[topic.table] is not None],
        "references": _references(session, key, decision, tables["references"]),
        "people": session.query(
            """SELECT i.id AS track, i.track AS number, i.identity, t.reference_sha256 AS picture FROM identities AS i
               LEFT JOIN tracks AS t ON t.id = i.id WHERE i.clip_id = ? ORDER BY i.track""",
            [key],
        ),
        "verdicts": [row for row in said if row["stands"] == "yes"],
        "story": {table: json.dumps(rows, indent=1, default=str, ensure_ascii=False) for table, rows in story.items()},
        "neighbours": {
            name: next((row["id"] for row in session.query(*neighbour_query(wanted, key, before=before))), None)
            for name, before in (("before", True), ("after", False))
        },
    }
    return facts


def _row(session: Session, table: str, key: str) -> dict[str, Any] | None:
    return next(iter(session.query(f'SELECT * FROM "{table}" WHERE id = ?', [key])), None)


def _wave(session: Session, clip: dict[str, Any], tables: dict[str, dict[str, Any] | None]) -> Wave | None:
    if not clip["audio_sha256"]:
        return None
    data = get_media(session.files, "audio", clip["audio_sha256"])
    sound, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    seconds = clip["frames"] / FPS
    step = max(1, len(sound) // (WAVE_WIDTH // 2))
    loudest = max(float(abs(sound).max(initial=0.0)), 1e-4)
    middle = WAVE_HEIGHT / 2
    tops = [
        (place / SAMPLE_RATE / seconds * WAVE_WIDTH, float(abs(sound[place : place + step]).max()) / loudest * middle)
        for place in range(0, len(sound), step)
    ]
    points = [f"{x:.1f} {middle - y:.1f}" for x, y in tops] + [f"{x:.1f} {middle + y:.1f}" for x, y in reversed(tops)]
    spans = [tuple(span) for span in (tables["speech"] or {}).get("spans_us") or []]
    speech = [(_x(start, seconds), max(_x(end, seconds) - _x(start, seconds), 1.0)) for start, end in spans]
    frames = (tables["sync"] or {}).get("offset_frames")
    offset = None
    words = "the fit of lips and sound is unknown"
    if frames is not None:
        heard = spans[0][0] / 1e6 if spans else 0.0
        # Lips move where the sound would be, were it in step.
        lips = heard - frames / FPS
        offset = (_x(lips * 1e6, seconds), _x(heard * 1e6, seconds))
        words = "sound and lips are in step" if frames == 0 else f"the sound is {_late(frames)}"
    return Wave(path="M" + "L".join(points) + "Z", seconds=seconds, speech=speech, offset=offset, offset_words=words)


def _late(frames: int) -> str:
    return f"{abs(frames) * 1000 // FPS} ms ({abs(frames)} frames) {'late' if frames > 0 else 'early'}"


def _x(us: float, seconds: float) -> float:
    return round(min(max(us / 1e6 / seconds, 0.0), 1.0) * WAVE_WIDTH, 1)


def _words(text: str | None) -> list[dict[str, Any]]:
    """Words with their seconds, where the speech was transcribed; whatever else stands there is no word."""
    if not text:
        return []
    try:
        found = json.loads(text)
    except ValueError:
        return []
    words: list[dict[str, Any]] = []
    for one in found if isinstance(found, list) else []:
        values = list(one.values()) if isinstance(one, dict) else one
        if isinstance(values, list) and len(values) >= 3 and isinstance(values[0], str):
            words.append({"word": values[0], "start": float(values[1]), "end": float(values[2])})
    return words


def _references(
    session: Session, key: str, decision: dict[str, Any] | None, row: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """Candidates: the chosen ones first, then the others, each with how it differs from the clip's own face."""
    sync = decision is not None and decision["tier"] == "sync"
    chosen = list((row or {}).get("speaker_chosen" if sync else "chosen") or [])
    found = session.query(
        """SELECT c.id, c.track, c.rank, c.similarity, c.differs, c.difference, c.file, c.reference_clip_id,
                  t.reference_sha256 AS own, parse_filename(other.uri) AS name, other.start_us,
                  (c.clip_id, c.file) IN (SELECT clip_id, file FROM bad_references) AS bad
           FROM candidates AS c LEFT JOIN tracks AS t ON t.id = c.clip_id || '_t' || c.track
           LEFT JOIN gallery AS other ON other.id = c.reference_clip_id WHERE c.clip_id = ? ORDER BY c.track, c.rank""",
        [key],
    )
    for one in found:
        one["chosen"] = one["id"] in chosen
    return sorted(found, key=lambda one: (not one["chosen"], one["track"], one["rank"]))
