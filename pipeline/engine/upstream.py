"""What a clip-level stage gets to see of a clip: its sound, and the rows of the stages before it."""

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import soundfile
from numpy.typing import NDArray

from pipeline.backends.pyav_decode import decode_clip
from pipeline.engine.work import Work
from pipeline.flow import STAGE
from pipeline.stage import Clip, FramesHWC, Inapplicable, Row, Unmeasurable
from pipeline.store.files import Files
from pipeline.store.media import get_media
from pipeline.store.parts import read_part


class Upstream:
    """The rows of one unit that a stage may read, by clip; read once for all its clips."""

    def __init__(self, files: Files, stage: str, paths: dict[str, str], work: Work) -> None:
        self._files = files
        self._stage = stage
        self._work = work
        tables = [table for need in STAGE[stage].needs for table in STAGE[need].tables if table != "clips"]
        self._rows: dict[str, dict[str, list[Row]]] = {}
        for table in tables:
            by_clip: dict[str, list[Row]] = defaultdict(list)
            for row in read_part(files, paths[table]).to_pylist():
                by_clip[row.get("clip_id") or row["id"]].append(row)
            self._rows[table] = by_clip

    def of(self, clip: Clip) -> "ClipUpstream":
        """One clip's view."""
        return ClipUpstream(self._files, clip, self._rows, self._decoding)

    def _decoding(self) -> None:
        self._work.count(f"decodes.{self._stage}")


class ClipUpstream:
    """Implements `pipeline.stage.ClipInputs`."""

    def __init__(
        self, files: Files, clip: Clip, rows: dict[str, dict[str, list[Row]]], decoding: Callable[[], None]
    ) -> None:
        self._files = files
        self._clip = clip
        self._rows = rows
        self._decoding = decoding

    def waveform(self) -> NDArray[np.float32]:
        """See ClipInputs."""
        if self._clip.audio_sha256 is None:
            raise Inapplicable("the source has no sound")
        data = get_media(self._files, "audio", self._clip.audio_sha256)
        waveform: NDArray[np.float32]
        waveform, _rate = soundfile.read(io.BytesIO(data), dtype="float32")
        return waveform

    def picture(self, kind: str, sha256: str) -> NDArray[np.uint8]:
        """See ClipInputs."""
        data = np.frombuffer(get_media(self._files, kind, sha256), dtype=np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise Unmeasurable(f"a picture of {kind} does not decode")
        return picture.astype(np.uint8, copy=False)

    def rows(self, table: str) -> list[Row]:
        """See ClipInputs."""
        found: list[dict[str, Any]] = self._rows[table].get(self._clip.id, [])
        for row in found:
            if row["status"] == "failed":
                raise Unmeasurable(f"{table} failed: {row['error']}")
            if row["status"] == "inapplicable":
                raise Inapplicable(row["error"])
        return found

    def frames(self) -> Iterator[tuple[int, FramesHWC]]:
        """See ClipInputs."""
        self._decoding()
        return decode_clip(get_media(self._files, "clips", self._clip.media_sha256))

    def boxes(self) -> dict[int, dict[int, tuple[float, float, float, float]]]:
        """See ClipInputs."""
        placed: dict[int, dict[int, tuple[float, float, float, float]]] = defaultdict(dict)
        record = json.loads(get_media(self._files, "faces", self.rows("faces")[0]["boxes_sha256"]))
        for index, frame in enumerate(record["frames"]):
            for face in frame:
                x0, y0, x1, y1 = face["box"]
                placed[face["track"]][index] = (x0, y0, x1, y1)
        return dict(placed)
