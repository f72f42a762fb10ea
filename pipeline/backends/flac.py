"""Sound as it is stored: FLAC, 16 kHz, mono, 16 bit."""

from io import BytesIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from schemas.sample import SAMPLE_RATE


def flac_of(samples: NDArray[np.int16]) -> bytes:
    """A file of samples (N,) at 16 kHz."""
    buffer = BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
