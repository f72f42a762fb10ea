"""Two public-domain portraits with a jaw that opens and eyes that blink.

The pictures are the ones scikit-image and matplotlib carry: Eileen Collins (NASA) and Grace Hopper (US Navy). A
portrait is cut from its background with a hand-drawn outline and scaled so that every face has the same size on its
canvas. All geometry below is given in pixels of the original picture and scaled once, on loading.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.errors import UserError

Image = NDArray[np.uint8]
Field = NDArray[np.floating[Any]]

CANVAS_FACE_PX = 160.0
"""Side of the face square (brow to chin) on every canvas, in pixels."""
MOUTH_DARK_RGB = (48.0, 14.0, 16.0)
TONGUE_RGB = (150.0, 66.0, 66.0)
TEETH_RGB = (222.0, 214.0, 200.0)


@dataclass(frozen=True)
class Anatomy:
    """Where things are in the original picture, in its pixels."""

    face: tuple[float, float, float]
    """Left, top and side of the square that a frontal-face detector gives."""
    crop: tuple[int, int, int, int]
    """x0, y0, x1, y1 of what is kept."""
    outline: tuple[tuple[int, int], ...]
    """Polygon around the person."""
    clothing_top: float
    """Below this row (and outside the skin) a colour change takes hold."""
    mouth: tuple[float, float, float]
    """Centre x, row of the line where the lips part (at the centre), half the width."""
    lip_rise: float
    """How far the corners of that line stand above its centre."""
    nose_y: float
    chin_y: float
    neck_y: float
    """Row below which the jaw moves nothing."""
    jaw_half_width: float
    gape: float
    """How far the lower lip drops at full opening."""
    upper_lip: float
    """Share of the gape by which the upper lip rises."""
    teeth: bool
    """Whether upper teeth are drawn (the other picture shows its own)."""
    eyes: tuple[tuple[float, float, float, float], ...]
    """Centre x, centre y, half width, half height of each eye."""
    lid_row: float
    """Row, relative to the eye's centre, whose skin closes the eye."""


COLLINS = Anatomy(
    face=(177, 66, 96),
    crop=(40, 0, 410, 330),
    outline=(
        (172, 120), (160, 106), (155, 90), (156, 72), (164, 53), (181, 38), (199, 26), (216, 20), (236, 18), (257, 22),
        (276, 34), (288, 51), (295, 71), (299, 86), (296, 104), (288, 117), (278, 129), (269, 134), (264, 141),
        (261, 150), (256, 159), (253, 167), (252, 175), (260, 179), (281, 197), (297, 212), (303, 228), (304, 238),
        (318, 244), (335, 256),
        (350, 282), (358, 315), (364, 350), (400, 346), (440, 352), (480, 400), (500, 512), (20, 512), (20, 400),
        (27, 353), (39, 308), (48, 280), (78, 242), (113, 210), (115, 192), (121, 180), (132, 166), (150, 154),
        (170, 150), (184, 151), (183, 132), (176, 129),
    ),
    clothing_top=180,
    mouth=(224.5, 149.5, 23),
    lip_rise=9,
    nose_y=134,
    chin_y=177,
    neck_y=236,
    jaw_half_width=50,
    gape=21,
    upper_lip=0.06,
    teeth=False,
    eyes=((203, 101, 12, 6.5), (246.5, 103, 12, 6.5)),
    lid_row=8.5,
)  # fmt: skip
HOPPER = Anatomy(
    face=(155, 105, 222),
    crop=(0, 0, 512, 600),
    outline=(
        (152, 178), (150, 150), (151, 105), (160, 92), (177, 82), (192, 58), (215, 43), (226, 32), (260, 25),
        (300, 32), (320, 47), (344, 67), (355, 88), (364, 91), (369, 112), (370, 150), (367, 182), (374, 192),
        (372, 215), (364, 245), (358, 268), (359, 280), (352, 296), (339, 304), (331, 306), (331, 318), (347, 333),
        (372, 348), (401, 359), (440, 374), (478, 390), (490, 397), (499, 417), (507, 442), (512, 455), (512, 600),
        (12, 600), (22, 500), (30, 440), (37, 402), (62, 382), (102, 367), (151, 352), (181, 337), (201, 318),
        (197, 300), (178, 288), (166, 274), (167, 256), (159, 235), (155, 210), (156, 192),
    ),
    clothing_top=322,
    mouth=(268, 280, 41),
    lip_rise=-1,
    nose_y=252,
    chin_y=326,
    neck_y=430,
    jaw_half_width=88,
    gape=44,
    upper_lip=0.12,
    teeth=True,
    eyes=((222, 190, 22, 11), (306, 188, 22, 11)),
    lid_row=13,
)  # fmt: skip


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


def _collins_picture() -> Image:
    try:
        from skimage import data
    except ImportError as error:
        raise UserError("The demo film needs scikit-image; run: pip install 'humo[demo]'") from error
    return np.asarray(data.astronaut(), dtype=np.uint8)  # type: ignore[no-untyped-call]


def _hopper_picture() -> Image:
    try:
        from matplotlib import cbook
    except ImportError as error:
        raise UserError("The demo film needs matplotlib; run: pip install 'humo[demo]'") from error
    path = Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    rgb = cv2.imdecode(np.frombuffer(path.read_bytes(), dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(rgb, dtype=np.uint8)


def _scaled(anatomy: Anatomy, scale: float) -> Anatomy:
    x0, y0 = anatomy.crop[:2]

    def at(x: float, y: float) -> tuple[float, float]:
        return (x - x0) * scale, (y - y0) * scale

    face_x, face_y = at(*anatomy.face[:2])
    mouth_x, mouth_y = at(*anatomy.mouth[:2])
    return Anatomy(
        face=(face_x, face_y, anatomy.face[2] * scale),
        crop=anatomy.crop,
        outline=anatomy.outline,
        clothing_top=(anatomy.clothing_top - y0) * scale,
        mouth=(mouth_x, mouth_y, anatomy.mouth[2] * scale),
        lip_rise=anatomy.lip_rise * scale,
        nose_y=(anatomy.nose_y - y0) * scale,
        chin_y=(anatomy.chin_y - y0) * scale,
        neck_y=(anatomy.neck_y - y0) * scale,
        jaw_half_width=anatomy.jaw_half_width * scale,
        gape=anatomy.gape * scale,
        upper_lip=anatomy.upper_lip,
        teeth=anatomy.teeth,
        eyes=tuple((*at(x, y), width * scale, height * scale) for x, y, width, height in anatomy.eyes),
        lid_row=anatomy.lid_row * scale,
    )


def _load(name: str, picture: Callable[[], Image], anatomy: Anatomy) -> Portrait:
    rgb = picture()
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
    placed = _scaled(anatomy, scale)
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
        "collins": _load("collins", _collins_picture, COLLINS),
        "hopper": _load("hopper", _hopper_picture, HOPPER),
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
