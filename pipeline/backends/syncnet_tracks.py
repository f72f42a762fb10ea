"""SyncNet over the face tracks of a clip: crops, embeddings, and the offset at which they lie nearest.

Crops, distances and confidence are those of the authors' evaluation code, since its numbers depend on them: the box
is widened by 40 %, smoothed by a median over 13 frames, and the confidence is the median over the offsets of the mean
distance, minus its minimum.
"""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import medfilt

from pipeline.backends.cepstra import cepstra
from pipeline.backends.mouth_sync import SEARCH_FRAMES, SyncMeasure
from pipeline.backends.syncnet import CEPSTRA, FACE_FRAMES, FACE_PX, SOUND_STEPS, load_syncnet
from pipeline.stage import Clip, ClipInputs, FramesHWC, Row

STEPS_PER_FRAME = 4
WIDENED = 0.4
SMOOTHED_FRAMES = 13
BEYOND = 110
"""Grey that stands where a crop reaches beyond the picture."""
BATCH = 20
FEWEST_WINDOWS = 2 * SEARCH_FRAMES + 16
"""Windows of five frames that a track needs: what is shifted out must leave something to compare."""

Item = TypeVar("Item")

Faces = NDArray[np.uint8]
Boxes = dict[int, tuple[float, float, float, float]]


class SyncNetTracks:
    """Measures every face track of a clip from its pixels, in one decode of the clip."""

    def __init__(self, weights: Path, *, device: str = "cpu") -> None:
        """Load the network. Raises UserError where it cannot be."""
        self._network = load_syncnet(weights, device)
        self._device = device
        self.name = f"syncnet {weights.name} torch {version('torch')}"

    def measure(self, clip: Clip, inputs: ClipInputs, tracks: list[Row]) -> dict[int, SyncMeasure]:
        """Track -> offset, confidence and p-value."""
        waveform = inputs.waveform()
        boxes = inputs.boxes()
        crops: dict[int, dict[int, Faces]] = {int(track["track"]): {} for track in tracks}
        windows = {
            track: crop_windows(boxes[track], width=clip.width, height=clip.height) for track in crops if track in boxes
        }
        for index, frame in inputs.frames():
            for track, placed in windows.items():
                if index in placed:
                    crops[track][index] = crop(frame, *placed[index])
        sound = self.sound_embeddings(waveform, clip.frames)
        return {track: self._track(faces, sound) for track, faces in crops.items()}

    def sound_embeddings(self, waveform_s: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
        """Of the 0.2 s that begin with each frame but the last four; shape (frames - 4, 1024)."""
        found = np.zeros((STEPS_PER_FRAME * frames, CEPSTRA))
        computed = cepstra(waveform_s)[: len(found)]
        found[: len(computed)] = computed
        windows = [found[at * STEPS_PER_FRAME :][:SOUND_STEPS].T for at in range(frames - FACE_FRAMES + 1)]
        with torch.inference_mode():
            parts = [
                self._network.sound(torch.tensor(np.stack(part)[:, None], dtype=torch.float32, device=self._device))
                for part in _batches(windows)
            ]
        return torch.cat(parts).cpu().numpy()

    def lip_embeddings(self, faces_thwc: list[Faces]) -> NDArray[np.float32]:
        """Of the five frames that begin with each but the last four; faces RGB (224, 224, 3)."""
        windows = [faces_thwc[at : at + FACE_FRAMES] for at in range(len(faces_thwc) - FACE_FRAMES + 1)]
        with torch.inference_mode():
            parts = []
            for part in _batches(windows):
                bgr = np.stack([np.stack(window) for window in part])[..., ::-1].transpose(0, 4, 1, 2, 3)
                batch = torch.tensor(np.ascontiguousarray(bgr), dtype=torch.float32, device=self._device)
                parts.append(self._network.lips(batch))
        return torch.cat(parts).cpu().numpy()

    def _track(self, faces: dict[int, Faces], sound_fe: NDArray[np.float32]) -> SyncMeasure:
        if len(faces) < FEWEST_WINDOWS + FACE_FRAMES - 1:
            return SyncMeasure(None, None, None, f"the face is seen in {len(faces)} frames, too few for SyncNet")
        first = min(faces)
        lips = self.lip_embeddings([faces[index] for index in sorted(faces)])
        return find_offset(lips, sound_fe, first=first)


def find_offset(lips_ne: NDArray[np.float32], sound_fe: NDArray[np.float32], *, first: int = 0) -> SyncMeasure:
    """The offset at which lips and sound lie nearest.

    Args:
        lips_ne: an embedding a frame, from frame `first` on.
        sound_fe: an embedding a frame of the whole clip.
        first: where the lips begin.

    Returns:
        Offset (positive: the audio is late; the authors' code gives it the other sign), confidence, and as p-value the
        share of circular shifts of the sound, beyond the search, in whose surroundings some offset is as near. A clip
        of 97 frames allows about sixty, so it cannot fall below 0.016.
    """
    distances = _distances(lips_ne, sound_fe, first)
    best = int(np.argmin(distances))
    reached = [
        float(_distances(lips_ne, np.roll(sound_fe, -shift, axis=0), first).min()) <= float(distances.min())
        for shift in range(2 * SEARCH_FRAMES + 1, len(sound_fe) - 2 * SEARCH_FRAMES)
    ]
    return SyncMeasure(
        offset_frames=best - SEARCH_FRAMES,
        confidence=float(np.median(distances) - distances.min()),
        p_value=(1 + sum(reached)) / (1 + len(reached)) if reached else None,
        cause=None if reached else "the clip is too short for a p-value",
    )


def _distances(lips_ne: NDArray[np.float32], sound_fe: NDArray[np.float32], first: int) -> NDArray[np.float64]:
    """Mean distance at each offset; beyond the clip the sound's embedding is zero, as in the authors' code."""
    padded = np.pad(sound_fe, ((SEARCH_FRAMES, SEARCH_FRAMES + len(lips_ne)), (0, 0)))
    means = [
        np.linalg.norm(lips_ne - padded[first + column : first + column + len(lips_ne)], axis=1).mean()
        for column in range(2 * SEARCH_FRAMES + 1)
    ]
    return np.array(means, dtype=np.float64)


def crop(frame_hwc: FramesHWC, middle_x: float, middle_y: float, half: float) -> Faces:
    """A square around a face: as wide as the widened box, and lower than it, so that the chin is in; (224, 224, 3)."""
    reach = half * (1 + WIDENED)
    left, top = round(middle_x - reach), round(middle_y - half)
    side = max(round(2 * reach), 1)
    height, width = frame_hwc.shape[:2]
    square = np.full((side, side, 3), BEYOND, np.uint8)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + side, width), min(top + side, height)
    if x0 < x1 and y0 < y1:
        square[y0 - top : y1 - top, x0 - left : x1 - left] = frame_hwc[y0:y1, x0:x1]
    return np.asarray(cv2.resize(square, (FACE_PX, FACE_PX)), dtype=np.uint8)


def crop_windows(boxes: Boxes, *, width: int, height: int) -> dict[int, tuple[float, float, float]]:
    """Frame -> middle x, y and half the longer side of the face, in pixels, smoothed; gaps are filled.

    `boxes`: by frame, at least one, in fractions of a frame of that size.
    """
    seen = sorted(boxes)
    scaled = np.array([boxes[index] for index in seen]) * (width, height, width, height)
    frames = np.arange(seen[0], seen[-1] + 1)
    middle_x, middle_y = (scaled[:, 0] + scaled[:, 2]) / 2, (scaled[:, 1] + scaled[:, 3]) / 2
    half = np.maximum(scaled[:, 2] - scaled[:, 0], scaled[:, 3] - scaled[:, 1]) / 2
    smooth = [_smoothed(np.interp(frames, seen, series)) for series in (middle_x, middle_y, half)]
    return {int(index): (float(x), float(y), float(r)) for index, x, y, r in zip(frames, *smooth, strict=True)}


def _smoothed(series: NDArray[np.float64]) -> NDArray[np.float64]:
    reach = SMOOTHED_FRAMES // 2
    return np.asarray(medfilt(np.pad(series, reach, mode="edge"), SMOOTHED_FRAMES)[reach:-reach])


def _batches(items: list[Item]) -> Iterable[list[Item]]:
    return (items[at : at + BATCH] for at in range(0, len(items), BATCH))
