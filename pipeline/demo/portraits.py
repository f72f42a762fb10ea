"""Two public-domain portraits with a jaw that opens and eyes that blink.

The pictures are the ones scikit-image and matplotlib carry: Eileen Collins (NASA) and Grace Hopper (US Navy). A
portrait is cut from its background with a hand-drawn outline and scaled so that every face has the same size on its
canvas.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.demo.anatomy import COLLINS, HOPPER, Anatomy
from pipeline.demo.pictures import Image, photograph, portrait_of_hopper

Field = NDArray[np.floating[Any]]

CANVAS_FACE_PX = 160.0
"""Side of the face square (brow to chin) on every canvas, in pixels."""
MOUTH_DARK_RGB = (48.0, 14.0, 16.0)
TONGUE_RGB = (150.0, 66.0, 66.0)
TEETH_RGB = (222.0, 214.0, 200.0)


@dataclass(frozen=True)
class Portrait:
    """A person cut out of the background, on a canvas where the face square is CANVAS_FACE_PX wide."""

    name: str
    rgba_hwc: Image
    """Colours are there under the transparent parts too."""
    clothing_hw: Field
    """0..1: how far a pixel belongs to the clothes."""
    anatomy: Anatomy
    """In canvas pixels."""


def _load(name: str, rgb: Image, anatomy: Anatomy) -> Portrait:
    outline = np.zeros(rgb.shape[:2], dtype=np.uint8)
    cv2.fillPoly(outline, [np.asarray(anatomy.outline, dtype=np.int32)], 255)
    scale = CANVAS_FACE_PX / anatomy.face[2]
    x0, y0, x1, y1 = anatomy.crop
    size = (round((x1 - x0) * scale), round((y1 - y0) * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = cv2.resize(rgb[y0:y1, x0:x1], size, interpolation=method)
    if scale > 1:  # an enlarged picture is soft: sharpen it to the other's level
        canvas = cv2.addWeighted(canvas, 1.8, cv2.GaussianBlur(canvas, (0, 0), 2.2), -0.8, 0)
    alpha = cv2.resize(outline[y0:y1, x0:x1], size, interpolation=cv2.INTER_LINEAR)
    alpha = cv2.GaussianBlur(cv2.erode(alpha, np.ones((3, 3), dtype=np.uint8)), (0, 0), 1.6)
    placed = anatomy.on_canvas(scale)
    return Portrait(
        name=name,
        rgba_hwc=np.dstack([canvas, alpha]).astype(np.uint8),
        clothing_hw=_clothing(np.asarray(canvas, dtype=np.uint8), placed.clothing_top),
        anatomy=placed,
    )


def _clothing(rgb: Image, top: float) -> Field:
    """Everything below `top` that does not have the colour of skin."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    skin = (lab[..., 0] > 90) & (lab[..., 1] > 132) & (lab[..., 1] < 160) & (lab[..., 2] > 134) & (lab[..., 2] < 165)
    rows = np.arange(rgb.shape[0], dtype=np.float32)[:, None]
    cloth = (~skin & (rows > top)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(cloth, (0, 0), 3.0), dtype=np.float32)


def load_portraits() -> dict[str, Portrait]:
    """Both people by name. Raises UserError where the packages that carry the pictures are not installed."""
    return {
        "collins": _load("collins", photograph("astronaut"), COLLINS),
        "hopper": _load("hopper", portrait_of_hopper(), HOPPER),
    }


def posed(portrait: Portrait, *, opening: float, rounding: float, blink: float) -> Image:
    """The canvas with this mouth and these eyes.

    Args:
        portrait: whom to pose.
        opening: 0 (lips as in the picture) to 1 (jaw fully dropped).
        rounding: 0 (mouth as wide as in the picture) to 1 (pursed).
        blink: 0 (eyes open) to 1 (shut).

    Returns:
        RGBA canvas, shape (height, width, 4), uint8.
    """
    rgba = portrait.rgba_hwc.copy()
    if blink > 0.02:
        for eye in portrait.anatomy.eyes:
            _close_eye(rgba, eye, portrait.anatomy.lid_row, blink)
    if opening > 0.005 or rounding > 0.005:
        _move_jaw(rgba, portrait.anatomy, opening, rounding)
    return rgba


def _close_eye(rgba: Image, eye: tuple[float, float, float, float], lid_row: float, blink: float) -> None:
    """Draw skin over the eye from above down to the lid's edge, and a lash line on that edge. Changes `rgba`."""
    x, y, half_width, half_height = eye
    x0, x1 = int(x - half_width * 1.3), int(x + half_width * 1.3) + 1
    y0, y1 = int(y - half_height * 1.3), int(y + half_height * 1.3) + 1
    grid_y, grid_x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    across, down = (grid_x - x) / half_width, (grid_y - y) / half_height
    rest = np.sqrt(np.clip(1 - across**2, 0, 1))
    edge = -rest + 2 * rest * 0.9 * blink
    inside = np.clip((1.15 - np.hypot(across, down)) * 5, 0, 1)
    lid = inside * np.clip((edge - down) * half_height * 0.7 + 0.5, 0, 1)
    skin = cv2.remap(rgba, grid_x, (y + lid_row + (grid_y - y) * 0.1).astype(np.float32), cv2.INTER_LINEAR)
    skin = cv2.GaussianBlur(skin[..., :3], (0, 0), 1.2).astype(np.float32)
    lash = inside * np.exp(-((((down - edge) * half_height) / 1.6) ** 2)) * (0.55 * blink)
    patch = rgba[y0:y1, x0:x1, :3].astype(np.float32)
    patch += (skin - patch) * lid[..., None]
    patch *= 1 - lash[..., None]
    rgba[y0:y1, x0:x1, :3] = np.clip(patch, 0, 255).astype(np.uint8)


def _move_jaw(rgba: Image, anatomy: Anatomy, opening: float, rounding: float) -> None:
    """Drop the lower lip and the chin, and fill the gap with the inside of a mouth. Changes `rgba`.

    Backward warp: each output pixel says where it comes from. Under the lips the jaw has moved down; the shift is the
    lip's drop at the lip, half of it at the chin, and fades out over neck and collar.
    """
    mouth_x, mouth_y, half_width = anatomy.mouth
    reach = anatomy.jaw_half_width
    x0, x1 = max(int(mouth_x - reach), 0), min(int(mouth_x + reach) + 1, rgba.shape[1])
    y0, y1 = int(anatomy.nose_y), min(int(anatomy.neck_y) + 1, rgba.shape[0])
    x = np.arange(x0, x1, dtype=np.float32)
    y = np.arange(y0, y1, dtype=np.float32)[:, None]

    narrowing = 1 - 0.3 * rounding
    across = (x - mouth_x) / (half_width * narrowing)
    from_mouth = ((x - mouth_x) / (1.7 * half_width)) ** 2 + ((y - mouth_y) / (1.4 * half_width)) ** 2
    pull = np.clip(1 - from_mouth, 0, 1) ** 2 * (1 / narrowing - 1)
    source_x = mouth_x + (x - mouth_x) * (1 + pull)

    drop = anatomy.gape * opening
    gap = drop * np.sqrt(np.clip(1 - across**2, 0, 1))
    top = mouth_y - anatomy.lip_rise * np.clip(np.abs(across), 0, 1.3) ** 2.4 - anatomy.upper_lip * gap
    bottom = top + (1 + anatomy.upper_lip) * gap
    chin_drop = 0.5 * drop * np.cos(np.clip((x - mouth_x) / reach, -1, 1) * (np.pi / 2)) ** 2
    chin = anatomy.chin_y + chin_drop
    to_chin = _smooth((y - bottom) / np.maximum(chin - bottom, 1))
    to_neck = _smooth((y - chin) / np.maximum(anatomy.neck_y - chin, 1))
    to_lip = _smooth((y - anatomy.nose_y) / np.maximum(top - anatomy.nose_y, 1))
    down = (gap + (chin_drop - gap) * to_chin) * (1 - to_neck) * (y >= bottom)
    source_y = y - down + anatomy.upper_lip * gap * to_lip * (y <= top)

    moved = cv2.remap(rgba, source_x.astype(np.float32), source_y.astype(np.float32), cv2.INTER_LINEAR)
    rows = slice(max(int(top.min()) - y0, 0), int(bottom.max()) - y0 + 2)
    columns = np.abs(across) < 1
    hole = np.clip(y[rows] - top, 0, 1) * np.clip(bottom - y[rows], 0, 1) * np.clip(gap - 0.5, 0, 1)
    inside = _mouth_inside(y[rows], top[columns], bottom[columns], across[columns], anatomy)
    lips = moved[rows, columns, :3].astype(np.float32)
    moved[rows, columns, :3] = lips + (inside - lips) * hole[:, columns, None]
    rgba[y0:y1, x0:x1] = moved


def _mouth_inside(y: Field, top: Field, bottom: Field, across: Field, anatomy: Anatomy) -> Field:
    """Colour of the open mouth: dark, a tongue low down, and teeth under the upper lip where they are drawn."""
    height = np.maximum(bottom - top, 1)
    share = height / anatomy.gape
    tongue = _smooth(2 * (y - top) / height - 1) * np.clip(1 - (across / 0.75) ** 2, 0, 1)
    tongue *= np.clip(3 * share - 0.4, 0, 1)
    dark, pink = (np.asarray(colour, dtype=np.float32) for colour in (MOUTH_DARK_RGB, TONGUE_RGB))
    colour = dark + (pink - dark) * tongue[..., None]
    if anatomy.teeth:
        rows = 0.17 * anatomy.gape * np.clip(1 - (across / 0.85) ** 2, 0, 1)
        teeth = np.clip(rows - (y - top), 0, 1) * np.clip(5 * share - 0.75, 0, 1)
        colour += (np.asarray(TEETH_RGB, dtype=np.float32) - colour) * (0.85 * teeth[..., None])
    return np.asarray(colour, dtype=np.float32)


def _smooth(t: Field) -> Field:
    """Smoothstep of t clipped to 0..1."""
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)
