"""What a clip-level stage gets to see of a clip: its sound, and the rows of the stages before it."""

import io
from collections import defaultdict
from typing import Any

import cv2
import numpy as np
import soundfile
from numpy.typing import NDArray

from pipeline.flow import STAGE
from pipeline.stage import Clip, Inapplicable, Row, Unmeasurable
from pipeline.store.files import Files
from pipeline.store.media import get_media
from pipeline.store.parts import read_part


class Upstream:
    """The rows of one unit that a stage may read, by clip; read once for all its clips."""

    def __init__(self, files: Files, stage: str, paths: dict[str, str]) -> None:
        self._files = files
        tables = [table for need in STAGE[stage].needs for table in STAGE[need].tables if table != "clips"]
        self._rows: dict[str, dict[str, list[Row]]] = {}
        for table in tables:
            by_clip: dict[str, list[Row]] = defaultdict(list)
            for row in read_part(files, paths[table]).to_pylist():
                by_clip[row.get("clip_id") or row["id"]].append(row)
            self._rows[table] = by_clip

    def of(self, clip: Clip) -> "ClipUpstream":
        """One clip's view."""
        return ClipUpstream(self._files, clip, self._rows)


class ClipUpstream:
    """Implements `pipeline.stage.ClipInputs`."""

    def __init__(self, files: Files, clip: Clip, rows: dict[str, dict[str, list[Row]]]) -> None:
        self._files = files
        self._clip = clip
        self._rows = rows

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
