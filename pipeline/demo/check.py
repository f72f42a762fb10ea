"""The film's truth against what a run decided about it."""

from dataclasses import dataclass
from pathlib import PurePath

from pipeline.demo.truth import TrueShot, Truth
from pipeline.stage import Row
from pipeline.store.relations import Relations


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A true shot and what the run made of it. `problem` is None where the two agree."""

    shot: TrueShot
    clips: tuple[str, ...]
    problem: str | None


def judge(truth: Truth, relations: Relations) -> list[Judged]:
    """Every shot of the film: kept in the tier that it deserves, or rejected by the rule that it was planted for."""
    people = _people(truth, relations)
    return [_judge(shot, relations, people) for shot in truth.shots]


def _clips(shot: TrueShot, relations: Relations) -> list[Row]:
    """The decisions about the clips that touch this shot."""
    cursor = relations.connection.execute(
        """SELECT clips.id, clips.start_us, clips.end_us, d.outcome, d.tier, d.failed_rules, d.unknown_rules, l.uri
           FROM clips JOIN decisions d USING (id) JOIN locations l ON l.source_id = clips.source_id
           WHERE clips.start_us < ? AND clips.end_us > ? ORDER BY clips.id""",
        [shot.end_us, shot.start_us],
    )
    names = [column[0] for column in cursor.description]
    rows = (dict(zip(names, values, strict=True)) for values in cursor.fetchall())
    return [row for row in rows if PurePath(row["uri"]).name == shot.reel]


def _people(truth: Truth, relations: Relations) -> dict[str, tuple[str, str]]:
    """Clip -> (person, shot id)."""
    known: dict[str, tuple[str, str]] = {}
    for shot in truth.shots:
        for clip in _clips(shot, relations):
            known[clip["id"]] = (shot.person or "", shot.id)
    return known


def _judge(shot: TrueShot, relations: Relations, people: dict[str, tuple[str, str]]) -> Judged:
    clips = _clips(shot, relations)
    problems = [problem for clip in clips if (problem := _problem(shot, clip, relations, people))]
    if not clips and shot.expected_tier != "none":
        problems = ["it gave no clip"]
    return Judged(
        shot=shot, clips=tuple(clip["id"] for clip in clips), problem="; ".join(problems) if problems else None
    )


def _problem(shot: TrueShot, clip: Row, relations: Relations, people: dict[str, tuple[str, str]]) -> str | None:
    frame_us = 40_000
    if clip["start_us"] < shot.start_us - frame_us or clip["end_us"] > shot.end_us + frame_us:
        return f"the clip {clip['id']} reaches beyond the shot"
    tier = clip["tier"] if clip["outcome"] == "keep" else "none"
    rules = [*clip["failed_rules"], *clip["unknown_rules"]]
    if tier != shot.expected_tier:
        seen = ", ".join(f"{rule['tier']}: {rule['rule']} ({rule['values']})" for rule in rules)
        return f"tier {tier} where {shot.expected_tier} is true: {seen}"
    if shot.rejected_by is not None:
        meant = shot.rejected_by.partition(".")[0]
        if not any(meant in rule["rule"] for rule in rules):
            return f"rejected by {[rule['rule'] for rule in rules]}, not by {shot.rejected_by}"
    return _reference_problem(shot, clip["id"], tier, relations, people) if tier != "none" else None


def _reference_problem(
    shot: TrueShot, clip: str, tier: str, relations: Relations, people: dict[str, tuple[str, str]]
) -> str | None:
    column = "speaker_chosen" if tier == "sync" else "chosen"
    found = relations.connection.execute(
        f"""SELECT c.reference_clip_id FROM candidates c
            JOIN (SELECT unnest({column}) AS id FROM "references" WHERE id = ?) USING (id)""",
        [clip],
    ).fetchall()
    if not found:
        return "it has no reference"
    for (reference,) in found:
        person, other = people.get(reference, ("", ""))
        if person != shot.person or other == shot.id:
            return f"its reference is {person or 'nobody'} from shot {other}"
    return None
