"""Everything about one clip that its page shows."""

import io
import json
from dataclasses import dataclass
from typing import Any

import soundfile

from pipeline.decide.rules import parse_rule
from pipeline.report.words import TOPICS
from pipeline.review.session import Session
from pipeline.store.media import get_media, media_path
from pipeline.store.relations import quoted
from pipeline.trace import trace, verdicts_of
from schemas.sample import FPS, SAMPLE_RATE
from schemas.tables import CLIP_TABLES

WAVE_WIDTH, WAVE_HEIGHT = 1000, 80
"""Of the waveform, in units of its picture."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A rule and what it said of the clip: passed, or not, or None where it cannot tell."""

    tier: str
    rule: str
    passed: bool | None
    values: str


@dataclass(frozen=True, kw_only=True)
class Wave:
    """The sound as a path, the spans of speech, and the sync offset; lengths in units of the picture."""

    path: str
    seconds: float
    speech: list[tuple[float, float]]
    offset: tuple[float, float] | None
    offset_words: str


def clip_facts(session: Session, key: str) -> dict[str, Any] | None:
    """For the template; None where there is no such clip."""
    rows = session.query("SELECT * FROM gallery WHERE id = ?", [key])
    if not rows:
        return None
    clip = rows[0]
    tables = {
        table: next(iter(session.query(f'SELECT * FROM "{table}" WHERE id = ?', [key])), None) for table in CLIP_TABLES
    }
    story = trace(session.relations, key)
    story["verdicts"] = verdicts_of(session.relations, clip)
    decision = next(iter(session.query("SELECT * FROM decisions WHERE id = ?", [key])), None)
    boxes = (tables["faces"] or {}).get("boxes_sha256")
    facts = {
        "clip": clip,
        "video": media_path("clips", clip["media_sha256"]),
        "sound": media_path("audio", clip["audio_sha256"]) if clip["audio_sha256"] else None,
        "boxes": media_path("faces", boxes) if boxes else None,
        "speaker": (tables["sync"] or {}).get("speaker_track"),
        "decision": decision,
        "rules": _rules(session, key),
        "wave": _wave(session, clip, tables),
        "words": _words((tables["speech"] or {}).get("word_times")),
        "topics": [(topic, tables[topic.table]) for topic in TOPICS if tables[topic.table] is not None],
        "references": _references(session, key, decision, tables["references"]),
        "people": session.query(
            """SELECT i.id AS track, i.track AS number, i.identity, t.reference_sha256 AS picture FROM identities AS i
               LEFT JOIN tracks AS t ON t.id = i.id WHERE i.clip_id = ? ORDER BY i.track""",
            [key],
        ),
        "verdicts": [row for row in story["verdicts"] if row["stands"] == "yes"],
        "story": {table: json.dumps(rows, indent=1, default=str, ensure_ascii=False) for table, rows in story.items()},
        "neighbours": _neighbours(session, clip["place"]),
    }
    return facts


def _rules(session: Session, key: str) -> list[Judged]:
    """Every rule of both tiers on the measurements as they are, one after the other."""
    found: list[Judged] = []
    joins = " ".join(f'LEFT JOIN "{table}" ON "{table}".id = clips.id' for table in CLIP_TABLES)
    uses = """(SELECT source_id AS id, min(licence) AS licence, min(consent) AS consent FROM locations
               GROUP BY source_id) AS "locations" """
    for tier in ("subject", "sync"):
        for text in getattr(session.config.decide, tier):
            rule = parse_rule(text)
            seen = " || ', ' || ".join(
                f"'{name} = ' || coalesce(CAST({_column(name)} AS VARCHAR), 'unknown')" for name in rule.columns
            )
            row = session.query(
                f"""SELECT {rule.sql} AS passed, {seen} AS "values" FROM clips {joins}
                    LEFT JOIN {uses} ON "locations".id = clips.source_id WHERE clips.id = {quoted(key)}"""
            )[0]
            found.append(Judged(tier=tier, rule=text, passed=row["passed"], values=row["values"]))
    return found


def _column(name: str) -> str:
    table, column = name.split(".")
    return f'"{table}"."{column}"'


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


def _neighbours(session: Session, place: int) -> dict[str, str | None]:
    rows = session.query("SELECT id, place FROM gallery WHERE place IN (?, ?)", [place - 1, place + 1])
    ids = {row["place"]: row["id"] for row in rows}
    return {"before": ids.get(place - 1), "after": ids.get(place + 1)}
