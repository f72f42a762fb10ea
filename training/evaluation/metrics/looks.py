"""Subjects and text by embeddings: CLIP-I and DINO-I (frames against references), CLIP-T (frames against the text)."""

from collections.abc import Mapping

from training.evaluation.backends.looks import AestheticScorer, PictureEmbedder, PictureTextEmbedder
from training.evaluation.clip import GeneratedClip
from training.evaluation.materials import Materials
from training.evaluation.metrics.metric import About, NotMeasured

LOOKED_AT = 9
"""Frames, spread evenly."""


def about_subject(name: str, title: str, *, backend: str, weights: str, licence: str) -> About:
    """Of CLIP-I or DINO-I."""
    return About(
        name=name,
        title=title,
        unit="cosine, -1 to 1",
        better="higher",
        backend=backend,
        weights=weights,
        licence=licence,
        says="similarity of frames to references, mean over both",
    )


def about_text(*, backend: str, weights: str, licence: str) -> About:
    """Of CLIP-T."""
    return About(
        name="clip_t",
        title="CLIP-T",
        unit="cosine, -1 to 1",
        better="higher",
        backend=backend,
        weights=weights,
        licence=licence,
        says="similarity of frames to the text, mean over the frames; the text is cut at 77 tokens",
    )


def about_aesthetics(*, backend: str, weights: str, licence: str) -> About:
    """Of the aesthetic score."""
    return About(
        name="aesthetics",
        title="Aesthetics",
        unit="score, about 1 to 10",
        better="higher",
        backend=backend,
        weights=weights,
        licence=licence,
        says="LAION's aesthetic score, mean over the frames",
    )


class Subject:
    """CLIP-I or DINO-I."""

    def __init__(self, embedder: PictureEmbedder, about: About) -> None:
        self._embedder = embedder
        self.about = (about,)

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`."""
        if not given.references:
            raise NotMeasured("the case has no reference")
        frames_nd = self._embedder.pictures([clip.frames_thwc[index] for index in clip.spread(LOOKED_AT)])
        wanted_nd = self._embedder.pictures(given.references)
        return {self.about[0].name: float((frames_nd @ wanted_nd.T).mean())}


class TextAlignment:
    """CLIP-T."""

    def __init__(self, embedder: PictureTextEmbedder, about: About) -> None:
        self._embedder = embedder
        self.about = (about,)

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`."""
        frames_nd = self._embedder.pictures([clip.frames_thwc[index] for index in clip.spread(LOOKED_AT)])
        return {self.about[0].name: float((frames_nd @ self._embedder.texts([given.text])[0]).mean())}


class Aesthetics:
    """A learned taste."""

    def __init__(self, scorer: AestheticScorer, about: About) -> None:
        self._scorer = scorer
        self.about = (about,)

    def measure(self, clip: GeneratedClip, given: Materials) -> Mapping[str, float | NotMeasured]:
        """See `about`."""
        frames_nd = self._scorer.pictures([clip.frames_thwc[index] for index in clip.spread(LOOKED_AT)])
        return {self.about[0].name: float(self._scorer.aesthetic(frames_nd).mean())}
