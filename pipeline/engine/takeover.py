"""Files of other runs, taken over under their names: parts, and the media that rows name."""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.engine.clean import MEDIA_COLUMNS
from pipeline.engine.progress import Progress
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot
from schemas.errors import UserError

AT_ONCE = 16
"""Files taken at a time: each is a request where the run is on object storage."""


def take_all(
    out: Files, runs: Sequence[Files], paths: Collection[str], told: Callable[[int], None] = lambda _done: None
) -> int:
    """Take each file from the first of these runs that has it; returns how many were not here.

    Raises UserError for one that
    none has.
    """

    def take(path: str) -> bool:
        if out.exists(path):
            return False
        for run in runs:
            try:
                return out.take(run, path)
            except FileNotFoundError:
                continue
        raise UserError(f"{path} is in none of {', '.join(run.root for run in runs)}, but their rows name it")

    count = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done, taken in enumerate(pool.map(take, paths), start=1):
            count += taken
            told(done)
    return count


def take_media(out: Files, runs: Sequence[Files], snapshot: Snapshot, progress: Progress) -> int:
    """Take all media that the rows of a snapshot name; returns how many were not here.

    Sources lie in a run only where they were fetched. Those of which something was taken down stay behind.
    """
    relations = Relations(out, snapshot)
    count = 0
    for kind, (table, column) in MEDIA_COLUMNS.items():
        query = f'CREATE OR REPLACE TEMP TABLE named AS SELECT DISTINCT {column} AS name FROM "{table}"'
        relations.connection.execute(query)
        starts = sorted({start for run in runs for start in run.names(f"media/{kind}")})
        for number, start in enumerate(starts, start=1):
            count += take_all(out, runs, list(_wanted(out, runs, relations, kind, start)))
            progress(f"media/{kind}", number, len(starts))
    return count


def _wanted(out: Files, runs: Sequence[Files], relations: Relations, kind: str, start: str) -> Iterator[str]:
    """Paths of media whose hash starts so that a row names and that are not here. By listings: a request for many."""
    folder = f"media/{kind}/{start}"
    rows = relations.connection.execute("SELECT name FROM named WHERE starts_with(name, ?)", [start]).fetchall()
    named = {name for (name,) in rows}
    if kind == "sources":
        named -= relations.snapshot.removed.keys()
    here = set(out.walk(folder))
    there = {path for run in runs for path in run.walk(folder)}
    for path in sorted(there - here):
        if path.rsplit("/", 1)[-1].partition(".")[0] in named:
            yield path
