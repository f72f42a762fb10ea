"""Lists of places: read row by row, so that a list may be longer than memory."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import UserError

SUFFIXES = frozenset({".txt", ".csv", ".jsonl", ".parquet"})
ROWS_AT_ONCE = 1024

Columns = dict[str, str]


def read_list(path: Path, *, name: str) -> Iterator[Columns]:
    """Rows of a list: a uri a line (.txt), or columns of which `uri` is one (.csv, .jsonl, .parquet).

    Empty values are left out; numbers, lists and the like are given as JSON.

    Args:
        path: the list, on this disk.
        name: how the user named it, for messages.

    Raises:
        UserError: it cannot be read, or a row has no uri.
    """
    rows = _rows(path, name)
    number = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError, pa.ArrowException) as error:
            raise UserError(f"{name}, after row {number}: cannot be read: {error}") from error
        number += 1
        if not isinstance(row, dict) or not row.get("uri"):
            raise UserError(f"{name}, row {number}: there is no 'uri'")
        if None in row:
            raise UserError(f"{name}, row {number}: has more values than the list has columns")
        yield {key: _text(value) for key, value in row.items() if value not in (None, "")}


def _rows(path: Path, name: str) -> Iterator[Any]:
    suffix = Path(name).suffix.lower()
    if suffix == ".parquet":
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE):
                yield from batch.to_pylist()
        return
    with path.open(newline="", encoding="utf-8-sig") as file:
        if suffix == ".txt":
            yield from ({"uri": line.strip()} for line in file if line.strip())
        elif suffix == ".csv":
            yield from csv.DictReader(file)
        else:
            yield from (json.loads(line) for line in file if line.strip())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
