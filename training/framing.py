"""Where a training window is cut out of a clip, and what that does to its boxes and references."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from humo.conditions.reference import fit_reference
from training.config import Augmentation
from training.decode import FaceBox, UInt8

TOKEN_PIXELS = 16
"""A token's side: 8 pixels of the codec times a patch of 2."""
LATENT_FRAMES = 4
"""Video frames of a latent frame; the first has one to itself."""

Box = tuple[float, float, float, float]


def crop_corner(
    boxes: Sequence[Box], *, scaled: tuple[int, int], size: tuple[int, int], random: np.random.Generator
) -> tuple[int, int]:
    """The top left corner of a crop of `size` in a picture of `scaled` pixels, both (height, width).

    Drawn evenly among the corners that keep every box whole; where the boxes are wider than the crop it is centred on
    them. Boxes are in fractions of the picture.
    """
    return (
        _offset([(box[1], box[3]) for box in boxes], scaled[0], size[0], random),
        _offset([(box[0], box[2]) for box in boxes], scaled[1], size[1], random),
    )


def _offset(spans: Sequence[tuple[float, float]], scaled: int, size: int, random: np.random.Generator) -> int:
    free = scaled - size
    drawn = float(random.random())
    least, most = 0.0, float(free)
    if spans:
        first, last = min(span[0] for span in spans) * scaled, max(span[1] for span in spans) * scaled
        least, most = max(0.0, min(last - size, free)), max(0.0, min(first, free))
        if least > most:
            least = most = (least + most) / 2
    return round(least + drawn * (most - least))


def move_box(box: Box, *, scaled: tuple[int, int], size: tuple[int, int], corner: tuple[int, int]) -> Box | None:
    """A box in fractions of the crop, cut at its edges; None if nothing of it is left."""
    (height, width), (top, left) = size, corner
    x0, x1 = (min(max((x * scaled[1] - left) / width, 0.0), 1.0) for x in (box[0], box[2]))
    y0, y1 = (min(max((y * scaled[0] - top) / height, 0.0), 1.0) for y in (box[1], box[3]))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def face_mask(boxes_per_frame: Sequence[Sequence[Box]], *, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which tokens of the video show a face: (T, height / 16, width / 16).

    `boxes_per_frame` has 4n + 1 frames of boxes in fractions of the picture. A token counts if its centre is in a box
    of any of its latent frame's video frames; the token under a box's centre always counts, however small the face.
    """
    rows, columns = size[0] // TOKEN_PIXELS, size[1] // TOKEN_PIXELS
    latents = (len(boxes_per_frame) - 1) // LATENT_FRAMES + 1
    mask = np.zeros((latents, rows, columns), bool)
    y, x = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns
    for frame, boxes in enumerate(boxes_per_frame):
        latent = mask[(frame + LATENT_FRAMES - 1) // LATENT_FRAMES]
        for x0, y0, x1, y1 in boxes:
            latent |= ((y0 <= y) & (y <= y1))[:, None] & ((x0 <= x) & (x <= x1))[None, :]
            latent[min(int((y0 + y1) / 2 * rows), rows - 1), min(int((x0 + x1) / 2 * columns), columns - 1)] = True
    return mask


def speaker_boxes(faces: Sequence[FaceBox]) -> list[Box]:
    """The boxes of who speaks, in one frame."""
    return [face.box for face in faces if face.speaker]


def varied_reference(
    image_hwc: UInt8, *, size: tuple[int, int], augmentation: Augmentation, random: np.random.Generator
) -> UInt8:
    """A reference image, flipped, brightened and shrunk by chance, then fitted onto white at `size` (height, width)."""
    flip, scale, brightness, contrast = random.random(4)
    if flip < augmentation.flip:
        image_hwc = image_hwc[:, ::-1]
    levels = np.arange(256, dtype=np.float64)
    spread = augmentation.colour * 2
    varied = (levels - 128) * (1 + spread * (contrast - 0.5)) + 128
    table = np.clip(np.rint(varied * (1 + spread * (brightness - 0.5))), 0, 255).astype(np.uint8)
    image_hwc = table[image_hwc]
    factor = augmentation.smallest_scale + (1 - augmentation.smallest_scale) * scale
    rows, columns = (round(side * (1 / factor - 1) / 2) for side in image_hwc.shape[:2])
    image_hwc = np.pad(image_hwc, ((rows, rows), (columns, columns), (0, 0)), constant_values=255)
    return fit_reference(np.ascontiguousarray(image_hwc), size[0], size[1])
