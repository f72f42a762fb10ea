"""The page: a folder of plain files, to be looked at as they are, or served for blind votes.

PAGE/index.html    tables, and cases side by side with their metrics
PAGE/blind.html    pairs without names; saves votes where it is served
PAGE/media/        videos and references under names that say nothing
PAGE/pairs.json    who is who; never served
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files as package_files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from schemas.errors import UserError
from training.evaluation.cases.benchmark import sha256
from training.evaluation.folder import Evaluation
from training.evaluation.metrics.metric import About
from training.evaluation.page.votes import PAIRS_FILE, make_pairs
from training.evaluation.summary import Table, not_measured, sentence, told_difference, told_mean

ASSETS = ("page.css", "player.js", "look.js", "vote.js")


@dataclass(frozen=True)
class Value:
    """A metric of a video."""

    about: About
    value: float | None
    cause: str | None


@dataclass(frozen=True)
class Shown:
    """A video of a case."""

    name: str
    file: str | None
    error: str | None
    values: list[Value]


@dataclass(frozen=True)
class CaseView:
    """A case with what every evaluation made of it."""

    name: str
    text: str
    references: list[str]
    sound: bool
    videos: list[Shown]


def write_page(evaluations: Mapping[str, Evaluation], table: Table, out: Path) -> None:
    """Write the page; one that is there is written anew, and its votes stay.

    Raises UserError for a folder that holds something else.
    """
    if out.exists() and any(out.iterdir()) and not (out / PAIRS_FILE).is_file():
        raise UserError(f"{out} is not empty and holds no page: give another --out")
    media = out / "media"
    media.mkdir(parents=True, exist_ok=True)
    baseline = evaluations[table.names[0]]
    views = [_view(name, evaluations, media) for name in baseline.rows]
    seed = baseline.asked["set"]["fingerprint"]
    both = [view.name for view in views if all(shown.file for shown in view.videos)]
    pairs = make_pairs(table.names, both, seed=seed)
    (out / PAIRS_FILE).write_text(
        json.dumps({"names": table.names, "pairs": [asdict(pair) for pair in pairs]}, indent=1), encoding="utf-8"
    )
    files = {(view.name, shown.name): shown.file for view in views for shown in view.videos}
    texts = {view.name: view for view in views}
    blind = [
        {
            "id": pair.id,
            "left": files[pair.case, pair.left],
            "right": files[pair.case, pair.right],
            "text": texts[pair.case].text,
            "references": texts[pair.case].references,
        }
        for pair in pairs
    ]
    environment = Environment(
        loader=PackageLoader("training.evaluation.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(told_mean=told_mean, told_difference=told_difference)
    facts = {
        "table": table,
        "views": views,
        "asked": baseline.asked,
        "sentences": [sentence(table, name) for name in table.names[1:]],
        "missing": not_measured(table),
        "pairs": len(pairs),
    }
    (out / "index.html").write_text(environment.get_template("look.html").render(**facts), encoding="utf-8")
    (out / "blind.html").write_text(environment.get_template("blind.html").render(pairs=blind), encoding="utf-8")
    for name in ASSETS:
        (out / name).write_bytes(package_files("training.evaluation.page").joinpath("assets", name).read_bytes())


def _view(name: str, evaluations: Mapping[str, Evaluation], media: Path) -> CaseView:
    asked = next(iter(evaluations.values())).asked["cases"][name]
    shown = []
    for label, evaluation in evaluations.items():
        row = evaluation.rows[name]
        video = evaluation.videos / f"{name}.mp4"
        file = _kept(video, media, "mp4") if row.status == "ok" and video.is_file() else None
        values = [Value(about, row.values.get(about.name), row.causes.get(about.name)) for about in evaluation.about]
        shown.append(Shown(label, file, row.error, values if row.status == "ok" else []))
    if asked["video"] is not None and Path(asked["video"]).is_file():
        shown.append(Shown("the true video", _kept(Path(asked["video"]), media, "mp4"), None, []))
    references = [
        _kept(Path(path), media, Path(path).suffix.lstrip(".").lower() or "png")
        for path in asked["references"]
        if Path(path).is_file()
    ]
    return CaseView(name, asked["text"], references, asked["speech"] is not None, shown)


def _kept(path: Path, media: Path, suffix: str) -> str:
    """A copy by the digest of its bytes, which names nobody: a link where the file system allows one."""
    target = media / f"{sha256(path)[:20]}.{suffix}"
    if not target.exists():
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)
    return f"media/{target.name}"
