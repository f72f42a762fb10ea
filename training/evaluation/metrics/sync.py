"""Sync-C and Sync-D: SyncNet's confidence and distance (Chung and Zisserman 2016)."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from training.evaluation.backends.speech_sync import SyncEmbedder
from training.evaluation.clip import GeneratedClip
from training.evaluation.materials import Materials
from training.evaluation.metrics.lip_motion import fitted
from training.evaluation.metrics.metric import About, NotMeasured

SEARCH = 15
"""Offsets are tried from minus to plus so many frames."""


def about_sync(*, backend: str, weights: str, licence: str) -> tuple[About, ...]:
    """Of `sync_c` and `sync_d`."""
    own = {"backend": backend, "weights": weights, "licence": licence}
    return (
        About(
            name="sync_c",
            title="Sync-C",
            unit="distance",
            better="higher",
            says="median over the offsets of the mean distance of mouth and voice, minus the smallest one",
            **own,
        ),
        About(
            name="sync_d",
            title="Sync-D",
            unit="distance",
            better="lower",
            says="mean distance of mouth and voice at the offset where it is smallest",
            **own,
        ),
        About(
            name="sync_0",
            title="Sync, as it is",
            unit="distance",
            better="higher",
            says="as Sync-C at offset 0: the other two do not mind a video that is late throughout",
            **own,
        ),
    )


class Sync:
    """By any model that embeds mouths and voices."""

    def __init__(self, embedder: SyncEmbedder, about: tuple[About, ...]) -> None:
        self._embedder = embedder
        self.about = about

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`."""
        if given.speech_s is None:
            raise NotMeasured("the case has no speech")
        mouth_td, voice_td = self._embedder.embed(clip, fitted(given.speech_s, len(clip.moments())))
        if len(mouth_td) <= 2 * SEARCH:
            raise NotMeasured(f"{len(mouth_td)} moments are too few to try {SEARCH} offsets on either side")
        distances = mean_distances(mouth_td, voice_td)
        typical = float(np.median(distances))
        return {
            "sync_c": typical - float(distances.min()),
            "sync_d": float(distances.min()),
            "sync_0": typical - float(distances[SEARCH]),
        }


def mean_distances(mouth_td: NDArray[np.float32], voice_td: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean distance at every offset from -SEARCH to SEARCH, over the moments that both have: (2 * SEARCH + 1,).

    At offset n, the mouth's moment t stands beside the voice's moment t + n.
    """
    count = min(len(mouth_td), len(voice_td))
    found = []
    for offset in range(-SEARCH, SEARCH + 1):
        first, last = max(0, -offset), min(count, count - offset)
        apart = mouth_td[first:last] - voice_td[first + offset : last + offset]
        found.append(float(np.linalg.norm(apart, axis=1).mean()))
    return np.array(found)
