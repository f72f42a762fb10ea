"""Do the lips move with the speech? Openness of the mouth against loudness, without a learned model."""

from collections.abc import Mapping

import numpy as np

from pipeline.backends.mouth_sync import STILL, correlation_in_step, find_offset
from schemas.sample import FPS, SAMPLE_RATE
from training.evaluation.clip import GeneratedClip
from training.evaluation.materials import Materials
from training.evaluation.metrics.metric import About, NotMeasured


class LipMotion:
    """The correlation as it is, and how far the best one lies away. Needs two seconds and a mouth that is seen."""

    @property
    def about(self) -> tuple[About, ...]:
        """`lip_motion` and `lip_offset`."""
        return (
            About(
                name="lip_motion",
                title="Lip motion",
                unit="correlation, -1 to 1",
                better="higher",
                backend="mouth openness against loudness",
                weights=None,
                licence="Apache-2.0",
                says="correlation of the mouth's openness with the speech that the video was made from",
            ),
            About(
                name="lip_offset",
                title="Lip offset",
                unit="frames of 40 ms",
                better="lower",
                backend="mouth openness against loudness",
                weights=None,
                licence="Apache-2.0",
                says="how far the offset of the highest correlation lies from 0, within 15 frames",
            ),
        )

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`. Videos of other frame rates are read at 25 a second, each moment's nearest frame."""
        if given.speech_s is None:
            raise NotMeasured("the case has no speech")
        mouth_f = clip.faces.mouth_t[clip.moments()]
        waveform_s = fitted(given.speech_s, len(mouth_f))
        together = correlation_in_step(mouth_f, waveform_s)
        if together == STILL:
            # The worst of all: left out, it would make a model look better for every mouth that it freezes.
            return {"lip_motion": 0.0, "lip_offset": NotMeasured(STILL)}
        if isinstance(together, str):
            raise NotMeasured(together)
        offset = find_offset(mouth_f, waveform_s, seed_key=given.name).offset_frames
        assert offset is not None
        return {"lip_motion": together, "lip_offset": float(abs(offset))}


def fitted(speech_s: np.ndarray, frames: int) -> np.ndarray:
    """The speech cut, or lengthened with silence, to so many frames at 25 a second."""
    wanted = np.zeros(frames * SAMPLE_RATE // FPS, np.float32)
    wanted[: len(speech_s)] = speech_s[: len(wanted)]
    return wanted
