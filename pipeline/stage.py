"""What a stage is given and what it gives back. Stages know nothing of Ray, of the store, or of one another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
"""The measured columns of one table row; the engine adds status, backend, fingerprint and seconds."""

FramesHWC = NDArray[np.uint8]
Gray = NDArray[np.uint8]


class Unmeasurable(Exception):
    """An item that a stage cannot measure, with the reason to record. The run goes on."""


class Inapplicable(Exception):
    """A measurement that does not apply to this item, with the reason to record (speech without an audio track)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file of footage. `id`: first 16 hex digits of the SHA-256 of its bytes. `path`: where it lies on this node."""

    id: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip as every measuring stage sees it: 25 fps, 4n+1 frames, pixels of the encoded file."""

    id: str
    source_id: str
    shot_id: str
    start_us: int
    end_us: int
    frames: int
    width: int
    height: int
    media_sha256: str
    audio_sha256: str | None
    """None where the source has no sound."""
    blocking: float | None = None
    combing: float | None = None
    """Damage of the source's picture over this span, which scaling hides."""


@dataclass(frozen=True, kw_only=True)
class Media:
    """A file that a stage made: its kind (the folder under `media/`), its bytes, its suffix. Stored by its hash."""

    kind: str
    data: bytes
    suffix: str


@dataclass(kw_only=True)
class Measured:
    """What a stage found out about one item: rows by table, and files to store."""

    rows: dict[str, list[Row]]
    media: list[Media] = field(default_factory=list)


class ClipFrame:
    """A frame of a clip, in the clip's own pixels. Most frames are looked at in grey only."""

    def __init__(self, gray_hw: Gray, colours: Callable[[], FramesHWC]) -> None:
        """`colours` gives the frame in RGB, uint8 (H, W, 3); it is asked once, or never."""
        self.gray_hw = gray_hw
        """Brightness, uint8 (H, W): black is 0, white 255."""
        self._colours = colours

    @cached_property
    def rgb_hwc(self) -> FramesHWC:
        """RGB, uint8 (H, W, 3)."""
        return self._colours()


class FrameMeter(Protocol):
    """Measures one clip frame by frame, so that no clip is ever held whole in memory."""

    def add(self, index: int, frame: ClipFrame) -> None:
        """Take frame `index` (0-based)."""
        ...

    def finish(self) -> Measured:
        """The measurements. Raises Unmeasurable or Inapplicable with the reason to record."""
        ...


class FrameStage(Protocol):
    """A stage that looks at a clip's frames. Several share one decode."""

    name: str

    @property
    def backend(self) -> str:
        """Name and version of what measures, written into every row."""
        ...

    def start(self, clip: Clip) -> FrameMeter:
        """Begin a clip."""
        ...


class ClipInputs(Protocol):
    """What a clip-level stage may ask for beside the frames."""

    def waveform(self) -> NDArray[np.float32]:
        """The clip's sound: 16 kHz mono, 640 samples a frame, in [-1, 1]. Raises Inapplicable where there is none."""
        ...

    def rows(self, table: str) -> list[Row]:
        """This clip's rows of a table upstream. Raises Unmeasurable where that measurement failed."""
        ...

    def picture(self, kind: str, sha256: str) -> FramesHWC:
        """A picture that a stage before stored: RGB uint8 (H, W, 3). Raises Unmeasurable where it does not decode."""
        ...

    def frames(self) -> Iterator[tuple[int, FramesHWC]]:
        """The clip's frames, RGB, in a decode of this stage's own: `humo status` counts it under the stage's name."""
        ...

    def boxes(self) -> dict[int, dict[int, tuple[float, float, float, float]]]:
        """Track -> frame -> the face's box, in fractions of the frame."""
        ...


class ClipStage(Protocol):
    """A stage that measures a clip from its sound or from what other stages measured."""

    name: str

    @property
    def backend(self) -> str:
        """Name and version of what measures, written into every row."""
        ...

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """The measurements. Raises Unmeasurable or Inapplicable with the reason to record."""
        ...


@runtime_checkable
class BatchStage(ClipStage, Protocol):
    """A clip stage whose backend takes many clips at once."""

    def measure_batch(self, items: Sequence[tuple[Clip, ClipInputs]]) -> dict[str, Measured | Exception]:
        """Clip id -> its measurements, or why there are none: one clip's fault is not that of another."""
        ...


@dataclass(frozen=True, kw_only=True)
class SetRows:
    """Some of what a set stage found, in no particular order; for how many items it had to look again; and of which
    `inputs` the rows of before are kept."""

    rows: Sequence[Row] = ()
    computed: int = 0
    kept: tuple[str, ...] = ()
