"""An evaluation's folder: what was asked, a row for every case, and the tables made of the rows.

EVAL/eval.json       what is evaluated, on which cases, by which metrics
EVAL/videos/*.mp4    what the model made; absent where videos that existed were measured
EVAL/rows/*.json     a row a case, written whole
EVAL/table.csv       the rows as one table
EVAL/summary.json    means with their intervals
"""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import UserError
from training.evaluation.metrics.metric import About

SCHEMA = "humo.evaluation/1"
EVAL_FILE = "eval.json"
_ENDS = 1 << 20


class Row(BaseModel):
    """What came of one case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str
    status: Literal["ok", "failed"]
    error: str | None
    """Why there is no video, or none that could be measured."""
    video_sha256: str | None
    frames: int | None
    values: dict[str, float | None]
    """By metric."""
    causes: dict[str, str]
    """Why a value is NULL."""
    passing: bool = False
    """Whether one of the causes may be gone another time; then the video is measured again."""


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation, read."""

    folder: Path
    asked: dict[str, Any]
    rows: dict[str, Row]

    @property
    def about(self) -> list[About]:
        """Its metrics, in the order of the tables."""
        return [About(**about) for about in self.asked["metrics"]]

    @property
    def videos(self) -> Path:
        """Where its videos lie."""
        given = self.asked["videos"]
        return self.folder / "videos" if given is None else Path(given)


def begin(folder: Path, asked: Mapping[str, Any]) -> None:
    """Note what is asked, or go on with it. Raises UserError where the folder holds another evaluation."""
    file = folder / EVAL_FILE
    wanted = json.loads(json.dumps({"schema": SCHEMA, **asked}))
    if file.is_file():
        stored = json.loads(file.read_text(encoding="utf-8"))
        differing = sorted(name for name in {*stored, *wanted} if stored.get(name) != wanted.get(name))
        if differing:
            raise UserError(f"{folder} holds an evaluation with another {', '.join(differing)}: give another --out")
        return
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no evaluation: give another --out")
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    _replace(file, json.dumps(wanted, indent=1, ensure_ascii=False) + "\n")


def row_file(folder: Path, case: str) -> Path:
    """Where a case's row lies."""
    return folder / "rows" / f"{case}.json"


def write_row(folder: Path, row: Row) -> None:
    """Whole or not at all."""
    file = row_file(folder, row.case)
    file.parent.mkdir(parents=True, exist_ok=True)
    _replace(file, row.model_dump_json(indent=1) + "\n")


def read_row(folder: Path, case: str) -> Row | None:
    """The row of a case; None if there is none yet. Raises UserError for one that is broken."""
    file = row_file(folder, case)
    if not file.is_file():
        return None
    try:
        return Row.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise UserError(f"{file} is no row of an evaluation: delete it, and give the same command again") from error


def read_evaluation(folder: Path) -> Evaluation:
    """A finished evaluation. Raises UserError for anything else."""
    file = folder / EVAL_FILE
    if not file.is_file():
        raise UserError(f"{folder} holds no evaluation: make one with `humo evaluate`")
    asked = json.loads(file.read_text(encoding="utf-8"))
    if asked.get("schema") != SCHEMA:
        raise UserError(f"{file} has the form {asked.get('schema')}, this version reads {SCHEMA}: evaluate again")
    rows = {name: row for name in asked["cases"] if (row := read_row(folder, name)) is not None}
    missing = [name for name in asked["cases"] if name not in rows]
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} cases, the first of them {missing[0]}: give its command again")
    return Evaluation(folder, asked, rows)


def write_table(evaluation: Evaluation) -> None:
    """`table.csv`: a line a case."""
    names = [about.name for about in evaluation.about]
    partial = evaluation.folder / "table.csv.partial"
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "status", "error", "frames", *names])
        for row in evaluation.rows.values():
            values = ["" if row.values.get(name) is None else row.values[name] for name in names]
            writer.writerow([row.case, row.status, row.error or "", row.frames or "", *values])
    partial.replace(evaluation.folder / "table.csv")


def write_summary(evaluation: Evaluation, lines: Sequence[Any]) -> None:
    """`summary.json`: of dataclasses, one a metric."""
    content = {
        "set": evaluation.asked["set"],
        "warnings": evaluation.asked["warnings"],
        "cases": len(evaluation.rows),
        "failed": sum(row.status == "failed" for row in evaluation.rows.values()),
        "metrics": [asdict(line) for line in lines],
    }
    _replace(evaluation.folder / "summary.json", json.dumps(content, indent=1) + "\n")


def model_digest(directory: Path) -> str:
    """16 hex digits of a model directory: names, sizes, and the first and the last MiB of every file."""
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(directory)}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            digest.update(file.read(_ENDS))
    return digest.hexdigest()[:16]


def _replace(file: Path, text: str) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
