"""Which sources have work to do, one after another: never all of them in memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.engine.pending import Committed
from pipeline.engine.plan import Terms, stale_stages, terms_of
from pipeline.flow import CUT
from pipeline.stages import crawl
from pipeline.store.files import Files
from pipeline.store.media import media_path
from pipeline.store.relations import Relations, quoted

FETCH = 1000
"""Rows read from the tables at a time."""
WITHHELD = " (part of it was taken down, and it is fetched no more: from a file on this machine)"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A source to be done.

    `path`: where it lies unchanged on this disk, or in the run; `there`: whether it does, or is not needed.
    `said`: where it was found, for people.
    """

    source_id: str
    said: str
    path: str
    there: bool
    terms: Terms
    committed: Committed | None
    """Its rows so far, of which some may still be valid; None where all is to be done."""


def jobs(relations: Relations, fingerprints: Mapping[str, str]) -> Iterator[Job]:
    """Every source with missing or outdated rows, by id.

    Reads from the relations' connection as it goes: nothing else may use that meanwhile.
    """
    query = """SELECT found.*, ledger.terms, ledger.bundle FROM
               (SELECT source_id, list(uri ORDER BY uri), list(etag ORDER BY uri) FROM locations
                WHERE source_id IS NOT NULL GROUP BY source_id) AS found
               LEFT JOIN ledger ON ledger.id = found.source_id ORDER BY found.source_id"""
    cursor = relations.connection.execute(query)
    known: dict[str, Terms] = {}
    while rows := cursor.fetchmany(FETCH):
        for source_id, uris, etags, text, bundle in rows:
            want = terms_of(source_id, relations.snapshot, fingerprints)
            have = None if text is None else known.setdefault(text, Terms.from_json(text))
            stale = stale_stages(have, want)
            if not stale:
                continue
            # All else is measured on the clips, which the run has.
            needed = not stale.isdisjoint(CUT)
            path, there = _place(relations.files, source_id, uris, etags) if needed else (uris[0], True)
            valid = have is not None and "shots" not in stale
            parts = relations.snapshot.bundles[bundle].parts if valid else {}
            yield Job(
                source_id=source_id,
                said=f"{uris[0]}{WITHHELD if source_id in relations.snapshot.removed else ''}",
                path=path,
                there=there,
                terms=want,
                committed=Committed(terms=have, parts=parts) if have is not None and valid else None,
            )


def new_footage_bytes(relations: Relations) -> int:
    """Bytes of the sources that are new: those that will be cut. Others only have rows computed again."""
    query = """SELECT coalesce(sum(size), 0) FROM (SELECT max(bytes) AS size FROM locations
               WHERE source_id IS NOT NULL AND source_id NOT IN (SELECT id FROM ledger) GROUP BY source_id)"""
    return int(relations.connection.execute(query).fetchall()[0][0])


def _place(files: Files, source_id: str, uris: list[str], etags: list[str]) -> tuple[str, bool]:
    """Where a source is as it was found, on this disk first, else its copy in the run; and whether it lies there."""
    for uri, etag in zip(uris, etags, strict=True):
        if "://" not in uri and Path(uri).is_file() and crawl.etag_of(Path(uri)) == etag:
            return uri, True
    if all("://" not in uri for uri in uris):
        return uris[0], False
    copy = media_path("sources", source_id)
    return copy, files.exists(copy)


def grouped(relations: Relations) -> Iterator[tuple[Terms | None, list[str], int]]:
    """Sources with equal terms: these, those of them that were retried or partly removed, and how many others."""
    special = [quoted(id_) for id_ in sorted({*relations.snapshot.retries, *relations.snapshot.removed})]
    among = f"found.id IN ({', '.join(special)})" if special else "false"
    rows = relations.connection.execute(
        f"""SELECT ledger.terms, list(found.id) FILTER ({among}), count(*) FILTER (NOT {among})
            FROM (SELECT DISTINCT source_id AS id FROM locations WHERE source_id IS NOT NULL) AS found
            LEFT JOIN ledger USING (id) GROUP BY ledger.terms ORDER BY ledger.terms"""
    ).fetchall()
    for text, sources, count in rows:
        yield None if text is None else Terms.from_json(text), sources or [], count
