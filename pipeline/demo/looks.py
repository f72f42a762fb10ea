"""Looks: background, light, clothes and framing, so that one person appears in many."""

import colorsys
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.demo.pictures import Image, photograph
from pipeline.demo.portraits import CANVAS_FACE_PX, Portrait

Light = NDArray[np.floating[Any]]

FRAME_PX = 256
"""Width and height of the film."""
BACKDROP_PX = 320
"""Width and height of a backdrop: wider than the frame, so that it can drift behind the person."""
Backdrop = Literal["studio", "bricks", "curtain", "lights", "stars", "meadow"]


@dataclass(frozen=True)
class Look:
    """How a shot looks, apart from what the person does in it."""

    name: str
    backdrop: Backdrop
    hue: float
    """Colour of the backdrop, 0 to 1 around the colour circle."""
    brightness: float
    """Of the backdrop, 0 to 1."""
    clothes_rgb: tuple[float, float, float]
    """Colour of the clothes, 0 to 1 each."""
    face_size: float
    """Height of the face square over the frame's height."""
    face_x: float
    """Centre of the face, as a fraction of the frame's width."""
    face_y: float
    """Centre of the face, as a fraction of the frame's height."""
    tilt_deg: float
    mirrored: bool
    gain: float
    """Brightness of the light on everything."""
    gamma: float
    warmth: float
    """Gain of red over gain of blue, minus one."""
    side_light: float
    """-0.3 (lit from the right) to 0.3 (lit from the left)."""


@dataclass(frozen=True)
class Place:
    """Where one person is filmed: what all of that person's looks have in common."""

    backdrops: tuple[Backdrop, ...]
    hue: float
    brightness: tuple[float, ...]


DAYLIGHT = Place(("studio", "bricks", "curtain"), hue=0.08, brightness=(0.9, 0.8, 0.85, 0.95, 0.75))
NIGHT = Place(("lights", "stars", "meadow"), hue=0.58, brightness=(0.3, 0.4, 0.25, 0.35, 0.45))


def draw_look(rng: np.random.Generator, place: Place, *, number: int) -> Look:
    """The `number`-th look of one person: backdrops, light and framing change in turn, the place stays."""
    backdrop = place.backdrops[number % len(place.backdrops)]
    hue = (place.hue + rng.uniform(-0.05, 0.05)) % 1.0
    clothes = colorsys.hsv_to_rgb((hue + 0.45) % 1.0, rng.uniform(0.25, 0.75), rng.uniform(0.45, 0.9))
    return Look(
        name=f"{backdrop}-{number:02d}",
        backdrop=backdrop,
        hue=hue,
        brightness=place.brightness[number % len(place.brightness)],
        clothes_rgb=clothes,
        face_size=(0.62, 0.68, 0.64, 0.70)[number % 4] + rng.uniform(-0.015, 0.015),
        face_x=(0.5, 0.47, 0.53, 0.46, 0.52)[number % 5] + rng.uniform(-0.015, 0.015),
        face_y=0.49 + rng.uniform(-0.02, 0.02),
        tilt_deg=(0.0, -4.0, 3.0, -2.0, 5.0, -5.0, 2.0)[number % 7],
        mirrored=number % 3 == 1,
        gain=rng.uniform(0.92, 1.06),
        gamma=rng.uniform(0.94, 1.08),
        warmth=(0.0, 0.08, -0.08)[number % 3],
        side_light=(-0.15, 0.0, 0.15, 0.08)[number % 4],
    )


def dressed(portrait: Portrait, look: Look) -> Portrait:
    """The portrait in this look's clothes."""
    rgb = portrait.rgba_hwc[..., :3].astype(np.float32)
    luma = (rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]
    cloth = np.asarray(look.clothes_rgb, dtype=np.float32) * (45 + 0.8 * luma)
    rgb += (cloth - rgb) * (0.8 * portrait.clothing_hw[..., None])
    rgba = portrait.rgba_hwc.copy()
    rgba[..., :3] = np.clip(rgb, 0, 255)
    return replace(portrait, rgba_hwc=rgba)


def backdrop(look: Look, rng: np.random.Generator) -> Image:
    """What stands behind the person: RGB, shape (BACKDROP_PX, BACKDROP_PX, 3)."""
    colour = np.asarray(colorsys.hsv_to_rgb(look.hue, 0.5, 1.0), dtype=np.float32)
    y, x = np.mgrid[0:BACKDROP_PX, 0:BACKDROP_PX].astype(np.float32) / BACKDROP_PX
    if look.backdrop == "studio":
        centre_x, centre_y = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.5)
        light = np.clip(1.15 - 1.1 * np.hypot(x - centre_x, y - centre_y), 0.1, 1)
    elif look.backdrop == "curtain":
        folds = sum(np.sin(2 * np.pi * (x * cycles + 0.08 * y + rng.random())) / cycles**0.5 for cycles in (3, 5, 8))
        light = 0.62 + 0.3 * folds / 1.5
    elif look.backdrop == "lights":
        light = _lights(rng) + 0.12
    elif look.backdrop == "bricks":
        light = _photograph_part("brick", rng, blur=1.5)
    elif look.backdrop == "meadow":
        light = _photograph_part("grass", rng, blur=3.0) * (0.55 + 0.45 * (1 - y))
    else:
        light = 1.6 * _photograph_part("hubble_deep_field", rng, blur=0.8) + 0.06
    picture = light[..., None] * colour * (255 * look.brightness)
    return np.asarray(np.clip(picture, 0, 255), dtype=np.uint8)


def _lights(rng: np.random.Generator) -> Light:
    """Round lamps far out of focus."""
    picture = np.zeros((BACKDROP_PX, BACKDROP_PX), dtype=np.float32)
    for _ in range(26):
        centre = tuple(int(value) for value in rng.integers(0, BACKDROP_PX, size=2))
        lamp = np.zeros_like(picture)
        cv2.circle(lamp, centre, int(rng.integers(9, 24)), float(rng.uniform(0.25, 0.9)), -1, cv2.LINE_AA)
        picture += lamp
    return np.asarray(np.clip(cv2.GaussianBlur(picture, (0, 0), 2.0), 0, 1), dtype=np.float32)


def _photograph_part(name: str, rng: np.random.Generator, *, blur: float) -> Light:
    """A square of a photograph's luma, 0..1, out of focus."""
    picture = cv2.cvtColor(photograph(name), cv2.COLOR_RGB2GRAY)
    side = int(min(picture.shape) * rng.uniform(0.55, 0.95))
    top, left = (int(rng.integers(0, size - side + 1)) for size in picture.shape)
    part = cv2.resize(picture[top : top + side, left : left + side], (BACKDROP_PX, BACKDROP_PX))
    return np.asarray(cv2.GaussianBlur(part, (0, 0), blur), dtype=np.float32) / 255


def placement(
    portrait: Portrait, look: Look, *, shift_x: float, shift_y: float, turn_deg: float, zoom: float
) -> NDArray[np.float64]:
    """Affine transform from the portrait's canvas to the frame, shape (2, 3); shifts are fractions of the frame."""
    face_x, face_y, side = portrait.anatomy.face
    scale = look.face_size * FRAME_PX / CANVAS_FACE_PX * zoom
    angle = np.deg2rad(look.tilt_deg + turn_deg)
    flip = -1.0 if look.mirrored else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn @ np.diag([flip, 1.0])
    centre = np.array([face_x + side / 2, face_y + side / 2])
    target = np.array([look.face_x + shift_x, look.face_y + shift_y]) * FRAME_PX
    return np.hstack([linear, (target - linear @ centre)[:, None]])


class Lamp:
    """This look's light, worked out once for all frames of a shot."""

    def __init__(self, look: Look) -> None:
        across = np.linspace(1, -1, FRAME_PX)[None, :, None]
        colour = np.array([1 + look.warmth / 2, 1.0, 1 - look.warmth / 2])
        light = look.gain * (1 + look.side_light * across) * colour
        self._light = np.ascontiguousarray(np.broadcast_to(light, (FRAME_PX, FRAME_PX, 3)), dtype=np.float32)
        self._curve = (255 * (np.arange(256) / 255) ** look.gamma + 0.5).astype(np.uint8)

    def lit(self, picture: Image) -> Image:
        """The finished frame."""
        linear = cv2.multiply(picture, self._light, dtype=cv2.CV_8U)
        return np.asarray(cv2.LUT(linear, self._curve), dtype=np.uint8)
