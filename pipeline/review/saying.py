"""What a browser says is checked against the run before it is written down."""

from typing import Any

from pipeline.review.requests import NewAudit, Outdated, Said
from pipeline.review.session import Session
from pipeline.verdicts.audit import count_of, draw, sample_size
from pipeline.verdicts.verdict import Sample, Verdict
from schemas.errors import UserError


def take(session: Session, said: Said) -> dict[str, Any]:
    """Write a verdict down, unless it is there already. Raises Outdated for another run's.

    Raises UserError where it speaks of what the run does not hold any more, so that no note on it stays behind.
    """
    _of_this_run(session, said.run)
    if session.verdict(said.id) is None:
        session.follow()
        verdict = Verdict.model_validate({**said.fields(), "at_us": session.now_us()})
        _check(session, verdict)
        session.say(verdict)
    return {"id": said.id}


def draw_audit(session: Session, wanted: NewAudit) -> dict[str, Any]:
    """Draw the clips of a new audit. Raises Outdated for another run's, UserError where there are none."""
    _of_this_run(session, wanted.run)
    relations = session.relations
    population = count_of(relations, wanted.population)
    if not population:
        raise UserError("there is no such clip to audit")
    size = sample_size(half_width=wanted.half_width, expected=wanted.expected, population=population)
    sample = Sample(
        population=wanted.population,
        half_width=wanted.half_width,
        expected=wanted.expected,
        of=population,
        snapshot=relations.snapshot.number,
        clips=draw(relations, wanted.population, size=size, seed=wanted.id),
    )
    session.say(
        Verdict(
            id=wanted.id,
            at_us=session.now_us(),
            kind="audit",
            reviewer=wanted.reviewer,
            details=sample.model_dump_json(),
        )
    )
    return {"id": wanted.id, "clips": size}


def _of_this_run(session: Session, run: str) -> None:
    if run != session.run:
        raise Outdated("another run is under review here now; what is meant for the one before waits in this browser")


def _check(session: Session, verdict: Verdict) -> None:
    if verdict.kind == "audit":
        raise UserError("clips of an audit are drawn, not sent")
    if verdict.kind == "undo":
        before = session.verdict(str(verdict.undoes))
        if before is None or before["reviewer"] != verdict.reviewer:
            raise UserError("only who gave a verdict can take it back")
    if verdict.clip_id is not None:
        clips = session.query("SELECT media_sha256 FROM gallery WHERE id = ?", [verdict.clip_id])
        if not clips:
            raise UserError("this run does not hold the clip any more; nothing was saved of it")
        if clips[0]["media_sha256"] != verdict.media_sha256:
            raise UserError("the clip was cut or encoded anew; look at it again")
    if verdict.reference is not None:
        pictures = "SELECT 1 FROM candidates WHERE clip_id = ? AND file = ?"
        if not session.query(pictures, [verdict.clip_id, verdict.reference]):
            raise UserError("the clip has no such reference any more; look at it again")
    if verdict.tracks is not None and verdict.seen is not None:
        rows = session.query("SELECT id, seen FROM identities WHERE list_contains(?, id)", [verdict.tracks])
        now = {(row["id"], row["seen"]) for row in rows}
        if any(face not in now for face in zip(verdict.tracks, verdict.seen, strict=True)):
            raise UserError("some of these faces are not in the run any more, or were found anew; tick them again")
