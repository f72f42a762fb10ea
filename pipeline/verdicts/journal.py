"""The journal: a file a verdict, each created whole or not at all. Any number of reviewers write at once.

A verdict is named by its sender, so that one sent again after a crash is there once. The decisions take the journal
into the table `verdicts`; after that `humo clean` removes its files.
"""

from collections.abc import Collection, Iterator

from pydantic import ValidationError

from pipeline.store.files import Files
from pipeline.verdicts.verdict import Verdict
from schemas.errors import UserError

FOLDER = "journal"


def record(files: Files, verdict: Verdict) -> bool:
    """Write a verdict down; it is on the disk when this returns. False where it was there already."""
    return files.create(journal_path(verdict.id), verdict.model_dump_json(exclude_none=True).encode())


def journal(files: Files, *, but: Collection[str] = ()) -> Iterator[Verdict]:
    """The verdicts in the journal, by id; `but`: ids that are known. Raises UserError for a file that is no verdict."""
    for name in files.names(FOLDER):
        id_ = name.removesuffix(".json")
        if id_ in but:
            continue
        try:
            yield Verdict.model_validate_json(files.read(f"{FOLDER}/{name}"))
        except FileNotFoundError:
            # Taken into the table and cleaned away meanwhile.
            continue
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "it"
            raise UserError(
                f"{files.root}/{FOLDER}/{name} is no verdict ({where}: {first['msg']}); remove it"
            ) from error


def journal_path(id_: str) -> str:
    """Where a verdict lies."""
    return f"{FOLDER}/{id_}.json"
