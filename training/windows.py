"""A training window cut out of a clip: frames, sound, face mask and varied references, before any encoder."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schemas.sample import SAMPLES_PER_FRAME
from training.batch import PixelBatch
from training.config import Augmentation
from training.dataset import ShardSet
from training.decode import Clip, UInt8, decode_clip
from training.framing import crop_corner, face_mask, move_box, speaker_boxes, varied_reference
from training.plan import Bucket, Slot
from training.samples import read_members

Waveform = np.ndarray[tuple[int], np.dtype[np.float32]]


class ClipCache:
    """Decoded clips, the least recently used dropped when they take more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._clips: OrderedDict[tuple[str, Bucket], Clip] = OrderedDict()

    def get(self, shards: ShardSet, slot: Slot) -> Clip:
        """The slot's whole clip. Raises DamagedSample."""
        place = (slot.row.key, slot.bucket)
        if place in self._clips:
            self._clips.move_to_end(place)
            return self._clips[place]
        clip = decode_clip(read_members(shards.address(slot.row.shard), slot.row), slot.row, slot.bucket)
        self._clips[place] = clip
        self._used += clip.nbytes
        while self._used > self._limit:
            self._used -= self._clips.popitem(last=False)[1].nbytes
        return clip


@dataclass(frozen=True)
class Window:
    """One slot's caption and arrays, cut and fitted."""

    caption: str
    video_fhwc: UInt8
    waveform_s: Waveform
    references_rhwc: UInt8
    face_mask_thw: np.ndarray[tuple[int, int, int], np.dtype[np.bool_]]


def cut_window(
    clip: Clip,
    slot: Slot,
    *,
    augmentation: Augmentation,
    crop: np.random.Generator,
    variation: np.random.Generator,
) -> Window:
    """Cut a slot's frames, sound and face mask out of its clip, and vary its references.

    `crop` and `variation` decide what is left to chance in the picture and in its references.
    """
    bucket = slot.bucket
    frames = slice(slot.first_frame, slot.first_frame + bucket.frames)
    video = clip.video_fhwc[frames]
    scaled, size = (video.shape[1], video.shape[2]), (bucket.height, bucket.width)
    faces = clip.faces[frames]
    of_interest = [box for frame in faces for box in speaker_boxes(frame)]
    of_interest = of_interest or [face.box for frame in faces for face in frame]
    corner = crop_corner(of_interest, scaled=scaled, size=size, random=crop)
    video = video[:, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    boxes = [
        [moved for box in speaker_boxes(frame) if (moved := move_box(box, scaled=scaled, size=size, corner=corner))]
        for frame in faces
    ]
    mask = face_mask(boxes, size=size)
    if slot.task == "sync" and clip.waveform is not None:
        waveform = clip.waveform[frames.start * SAMPLES_PER_FRAME : frames.stop * SAMPLES_PER_FRAME]
    else:
        waveform = silence(bucket)
        mask[:] = False
    references = [
        varied_reference(image, size=size, augmentation=augmentation, random=variation) for image in clip.references
    ]
    references = references or [np.zeros((*size, 3), np.uint8)] * bucket.references
    return Window(clip.caption, video, waveform, np.stack(references), mask)


def silence(bucket: Bucket) -> Waveform:
    """As long as a window."""
    return np.zeros(bucket.frames * SAMPLES_PER_FRAME, np.float32)


def no_faces(bucket: Bucket) -> np.ndarray[tuple[int, int, int], np.dtype[np.bool_]]:
    """An empty face mask."""
    return face_mask([[]] * bucket.frames, size=(bucket.height, bucket.width))


def empty_window(bucket: Bucket) -> Window:
    """What stands in a damaged sample's place."""
    size = (bucket.height, bucket.width)
    return Window(
        "",
        np.zeros((bucket.frames, *size, 3), np.uint8),
        silence(bucket),
        np.zeros((bucket.references, *size, 3), np.uint8),
        no_faces(bucket),
    )


def pixel_batch(windows: Sequence[Window], common: dict[str, Any]) -> PixelBatch:
    """Windows of one bucket, and what every batch has besides them."""
    return PixelBatch(
        captions=tuple(window.caption for window in windows),
        video_bfhwc=stacked([window.video_fhwc for window in windows]),
        waveform_bs=stacked([window.waveform_s for window in windows]),
        references_brhwc=stacked([window.references_rhwc for window in windows]),
        face_mask_bthw=stacked([window.face_mask_thw for window in windows]),
        **common,
    )


def stacked(arrays: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]) -> Tensor:
    """Along a new first axis; a single one is not copied."""
    return torch.from_numpy(arrays[0][None] if len(arrays) == 1 else np.stack(arrays))
