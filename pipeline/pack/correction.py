"""The sound of a packed clip, moved in step with the lips where the measured offset is to be believed."""

import io

import numpy as np
import soundfile

from pipeline.backends.flac import flac_of
from pipeline.pack.config import SyncCorrection
from pipeline.stage import Row
from schemas.sample import SAMPLES_PER_FRAME


def frames_to_correct(sync: Row, config: SyncCorrection) -> int:
    """By how many frames the sound is to come earlier; 0 where nothing is to be done.

    An offset counts where it is significant, within the limit, and the same in both halves of the clip: a drift that
    could not be measured is none that is known to be small.
    """
    offset, p_value, drift = sync["offset_frames"], sync["p_value"], sync["drift_frames"]
    if not config.enabled or offset is None or p_value is None or drift is None:
        return 0
    believed = p_value <= config.p_value and abs(drift) <= config.drift and abs(offset) <= config.limit
    return int(offset) if believed else 0


def moved(flac: bytes, frames: int) -> bytes:
    """A clip's sound `frames` of 40 ms earlier (later where negative), as long as before.

    What would lie beyond the clip is not at hand; silence stands in its place, and the sample's record says how much.
    """
    samples, _rate = soundfile.read(io.BytesIO(flac), dtype="int16", always_2d=False)
    shift = min(max(frames * SAMPLES_PER_FRAME, -len(samples)), len(samples))
    result = np.zeros_like(samples)
    if shift >= 0:
        result[: len(samples) - shift] = samples[shift:]
    else:
        result[-shift:] = samples[:shift]
    return flac_of(result)
