"""Committed tables elsewhere: DuckDB reads them, and nothing is asked for twice."""

from collections import Counter
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.store.committed_files import SMALL, CommittedFiles


class Counting(MemoryFileSystem):  # type: ignore[misc]
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def info(self, path: str, **options: Any) -> Any:
        self.asked["info"] += 1
        return super().info(path, **options)

    def cat_file(self, path: str, *given: Any, **options: Any) -> Any:
        self.asked["cat"] += 1
        return super().cat_file(path, *given, **options)


@pytest.mark.parametrize("rows", [10, SMALL])
def test_a_table_is_asked_for_once(rows: int) -> None:
    within = Counting()
    table = pa.table({"id": pa.array(range(rows), pa.int64())})
    with within.open("/committed/part.parquet", "wb") as file:
        pq.write_table(table, file, compression="none", use_dictionary=False)
    within.asked.clear()
    view = CommittedFiles(within)
    for _ in range(3):
        with duckdb.connect() as connection:
            connection.register_filesystem(view)
            query = "SELECT count(*), sum(id) FROM read_parquet(['memory:///committed/part.parquet'])"
            assert connection.execute(query).fetchall() == [(rows, rows * (rows - 1) // 2)]
    small = rows == 10
    assert within.asked["cat"] == (1 if small else 0)
    assert within.asked["info"] <= 2, "once by its address, and once in its own way of reading"
    with pytest.raises(FileNotFoundError):
        view.info("memory:///committed/none.parquet")
