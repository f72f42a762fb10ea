"""What other runs keep, for a run that must not keep it again."""

from collections.abc import Iterator, Sequence

from pipeline.stage import Row
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from schemas.errors import UserError


def other_runs(places: Sequence[str]) -> list[Relations]:
    """The runs at these places. Raises UserError for one that has decided nothing yet."""
    found = []
    for place in places:
        files = Files(place)
        snapshot = latest(files)
        if "decisions" not in snapshot.sets:
            raise UserError(f"duplicates.against: {place} is no run with decisions; curate it first")
        found.append(Relations(files, snapshot))
    return found


def clips_kept(runs: Sequence[Relations], fingerprint: str) -> Iterator[Row]:
    """Rows of `quality` with width, height and run of every clip that they keep, sorted by id within each run.

    Raises UserError where signatures were made with a `fingerprint` that is another: they cannot be compared.
    """
    for run in runs:
        others = run.connection.execute(
            "SELECT DISTINCT fingerprint FROM quality WHERE fingerprint <> ? AND signature IS NOT NULL", [fingerprint]
        ).fetchall()
        if others:
            raise UserError(
                f"duplicates.against: {run.files.root} was measured by another version or with other options of "
                "quality; curate it again with this one"
            )
        rows = run.connection.execute(
            """SELECT quality.id, quality.status, signature, sharpness, width, height
               FROM quality JOIN clips USING (id) JOIN decisions USING (id)
               WHERE decisions.outcome = 'keep' AND signature IS NOT NULL ORDER BY quality.id"""
        )
        names = [column[0] for column in rows.description or ()]
        while some := rows.fetchmany(4096):
            for values in some:
                yield {**dict(zip(names, values, strict=True)), "run": run.files.root}
