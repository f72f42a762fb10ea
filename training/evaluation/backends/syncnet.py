"""SyncNet on the most prominent face of a generated video, with the crops of the curation's SyncNet."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.backends.syncnet import FACE_FRAMES
from pipeline.backends.syncnet_tracks import SyncNetTracks, crop, crop_windows
from schemas.sample import FPS, SAMPLE_RATE
from training.evaluation.clip import GeneratedClip
from training.evaluation.metrics.metric import NotMeasured


class SyncNetSpeech:
    """Implements `SyncEmbedder`. Made once in the process that uses it."""

    def __init__(self, weights: Path, *, device: str) -> None:
        """`weights`: the published file. Raises UserError where it cannot be loaded."""
        self._network = SyncNetTracks(weights, device=device)
        self.name = self._network.name

    def embed(
        self, clip: GeneratedClip, speech_s: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `SyncEmbedder`. A moment is the five frames, and the 0.2 s of sound, that begin with it."""
        at, placed = clip.moments(), clip.faces.main
        boxes = {moment: placed[index] for moment, index in enumerate(at.tolist()) if index in placed}
        if len(boxes) < FACE_FRAMES:
            raise NotMeasured(
                "no face is found in the video" if not boxes else f"a face is seen in {len(boxes)} frames"
            )
        height, width = clip.frames_thwc.shape[1:3]
        windows = crop_windows(boxes, width=width, height=height)
        mouth_td = self._network.lip_embeddings(
            [crop(clip.frames_thwc[at[moment]], *window) for moment, window in sorted(windows.items())]
        )
        voice_td = self._network.sound_embeddings(speech_s, len(speech_s) * FPS // SAMPLE_RATE)
        first = min(windows)
        return mouth_td, voice_td[first : first + len(mouth_td)]
