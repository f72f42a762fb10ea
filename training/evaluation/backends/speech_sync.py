"""What SyncNet gives: embeddings of mouths and of sounds that are near where they belong together.

Chung and Zisserman 2016, "Out of time: automated lip sync in the wild".
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.evaluation.clip import GeneratedClip


class SyncEmbedder(Protocol):
    """Embeds every moment of a mouth and of a voice."""

    name: str

    def embed(
        self, clip: GeneratedClip, speech_s: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mouth and voice, each (moments, dimension) at 25 a second on one clock.

        Raises `training.evaluation.metrics.metric.NotMeasured` where no mouth is seen.
        """
        ...
