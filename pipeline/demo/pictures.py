"""Pictures that installed packages carry: portraits in the public domain (NASA, US Navy), a NASA sky, CC0 textures."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.environments import bring
from schemas.errors import UserError

Image = NDArray[np.uint8]


def photograph(name: str) -> Image:
    """A picture that scikit-image carries, as RGB. Raises UserError where it is not installed."""
    try:
        from skimage import data
    except ImportError as error:
        raise UserError(f"The demo film needs scikit-image; run: {bring('demo')}") from error
    picture = np.asarray(getattr(data, name)(), dtype=np.uint8)
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def portrait_of_hopper() -> Image:
    """Grace Hopper, as matplotlib carries her, RGB. Raises UserError where it is not installed."""
    try:
        from matplotlib import cbook
    except ImportError as error:
        raise UserError(f"The demo film needs matplotlib; run: {bring('demo')}") from error
    path = Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    rgb = cv2.imdecode(np.frombuffer(path.read_bytes(), dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(rgb, dtype=np.uint8)
