"""A run for the report's tests: clips of every outcome, and one whose file name, caption and errors are hostile."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from pipeline.config import CurateConfig
from pipeline.decide.config import DecideConfig, ReferenceBounds
from pipeline.engine.decide_again import decide_again
from pipeline.engine.rows import completed, unmeasured
from pipeline.stage import Inapplicable, Unmeasurable
from pipeline.store.files import Files
from pipeline.store.media import put_media
from pipeline.store.relations import Relations
from pipeline.store.snapshots import commit, latest
from tests.pipeline.synthetic_run import ABOUT, FakeClip, with_source, write_synthetic_run

# The two of this person are each other's reference.
KEPT = FakeClip(source=1, start_s=1, person="p_pair", similarity=0.7)
BLURRED = FakeClip(source=1, start_s=3, similarity=0.7, quality={"sharpness": 0.01})
UNLIT = FakeClip(source=1, start_s=4, similarity=0.7, quality={"luma": None, "error": "the picture has no light"})
LATE = FakeClip(source=1, start_s=10, person="p_pair", similarity=0.7, sync={"offset_frames": 8})
COPY = FakeClip(source=2, start_s=1, similarity=0.7, group="g", quality={"sharpness": 0.3})
BEST = FakeClip(source=2, start_s=5, similarity=0.7, group="g", quality={"sharpness": 0.6})
CLIPS = [KEPT, BLURRED, UNLIT, LATE, COPY, BEST]

RULES = DecideConfig(
    subject=("quality.sharpness >= 0.2", "quality.luma <= 0.9", "references.count >= 1"),
    sync=("speech.ratio >= 0.5", "abs(sync.offset_frames) <= 3"),
    references=ReferenceBounds(lower=0.5, upper=0.9),
)

Rows = dict[str, list[dict[str, Any]]]

HOSTILE_SOURCE = "f" * 16
HOSTILE_KEY = f"{HOSTILE_SOURCE}_2000000_2200000"
HOSTILE_NAME = "<img src=x onerror=alert(1)>\"'\u202e.mp4"
HOSTILE_CAPTION = '</p><script>alert("caption")</script><a href="javascript:alert(2)">{{ 7 * 7 }}</a>'
HOSTILE_ERROR = "<svg/onload=alert('error')>"
UNREADABLE_SOURCE = "e" * 16
UNREADABLE_ERROR = "no <video> stream & nothing else"


def write_run(folder: Path) -> None:
    """Seven clips of three sources, decided, and a fourth source that could not be read."""
    config = CurateConfig(decide=RULES)
    files = write_synthetic_run(folder, CLIPS, config)
    base = snapshot = latest(files)
    for source, rows in ((HOSTILE_SOURCE, _hostile_rows(files)), (UNREADABLE_SOURCE, _unreadable_rows())):
        snapshot = with_source(files, snapshot, source, rows, config)
    commit(files, base, snapshot)
    decide_again(Relations(files, latest(files)), config, dry_run=False)


def _hostile_rows(files: Files) -> Rows:
    clip = {"source_id": HOSTILE_SOURCE, "shot_id": "s", "start_us": 2_000_000, "end_us": 2_200_000, "frames": 5}
    video = put_media(files, "clips", b"a video")
    silent = Inapplicable("there is no sound")
    return {
        "locations": [_ok(HOSTILE_SOURCE, source_id=HOSTILE_SOURCE, uri=f"/footage/{HOSTILE_NAME}")],
        "sources": [_ok(HOSTILE_SOURCE, duration_us=5_000_000)],
        "shots": [_ok(f"{HOSTILE_SOURCE}_0_5000000", source_id=HOSTILE_SOURCE, start_us=0, end_us=5_000_000)],
        "clips": [_ok(HOSTILE_KEY, **clip, width=32, height=32, media_sha256=video)],
        "quality": [_not(HOSTILE_KEY, Unmeasurable(HOSTILE_ERROR))],
        "faces": [_ok(HOSTILE_KEY, subjects=1, largest=0.5)],
        "speech": [_not(HOSTILE_KEY, silent)],
        "sync": [_not(HOSTILE_KEY, silent)],
        "captions": [_ok(HOSTILE_KEY, text=HOSTILE_CAPTION, word_count=9)],
    }


def _unreadable_rows() -> Rows:
    return {
        "locations": [_ok(UNREADABLE_SOURCE, source_id=UNREADABLE_SOURCE, uri="/footage/broken.mp4")],
        "sources": [_not(UNREADABLE_SOURCE, Unmeasurable(UNREADABLE_ERROR))],
    }


def _ok(id_: str, **values: Any) -> dict[str, Any]:
    return completed({"id": id_, **values}, **ABOUT)


def _not(id_: str, error: Exception) -> dict[str, Any]:
    return unmeasured(id_, error, **ABOUT)


BLOCKS = {"br", "dd", "dt", "figcaption", "h3", "h4", "h5", "li", "p", "td", "th", "tr"}
"""Elements that a browser sets apart from the text before them."""


class Page(HTMLParser):
    """A page as a browser's parser sees it: elements with their attributes, and the text of each clip."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.clips: dict[str, str] = {}
        self.text = ""
        self._clip: str | None = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in BLOCKS:
            self.handle_data(" ")
        if tag == "article":
            key = dict(attrs)["id"]
            assert key is not None
            assert key not in self.clips
            self.clips[key] = ""
            self._clip = key

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._clip = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._clip is not None:
            self.clips[self._clip] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def clip(self, key: str) -> str:
        """The text of a clip, every run of white space as one space."""
        return " ".join(self.clips[key].split())
