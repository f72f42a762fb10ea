"""Looks: how pleasing a clip is, what it resembles, and whether its caption says what is seen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.stage import Clip, ClipInputs, ClipStage, Inapplicable, Measured, Row, Unmeasurable
from pipeline.stages.frames import unstacked
from pipeline.stages.options.looks import VERSION, LooksConfig
from pipeline.weights.locate import Weights

if TYPE_CHECKING:
    from pipeline.backends.open_clip_looks import OpenClipLooks


def looks_stage(config: LooksConfig, weights: Weights, *, device: str) -> ClipStage:
    """The stage that the configuration names, with its models loaded. Raises UserError."""
    if config.backend == "none":
        return NoLooksStage()
    from pipeline.backends.open_clip_looks import OpenClipLooks

    clip, head = weights.find("open-clip-vit-l-14"), weights.find("laion-aesthetic")
    version = f"{clip.version}, {head.version}"
    return OpenClipStage(OpenClipLooks(clip.folder, head.folder, version=version, device=device, batch=config.batch))


class NoLooksStage:
    """Measures nothing, and says so."""

    name = "looks"
    backend = "none"

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """See ClipStage."""
        raise Inapplicable("no backend of this configuration measures looks")


class OpenClipStage:
    """Rows of `looks` and `look_tracks`. Vectors have length 1; similarity is their cosine."""

    name = "looks"

    def __init__(self, models: "OpenClipLooks") -> None:
        self._models = models

    @property
    def backend(self) -> str:
        """The models and this stage's version."""
        return f"{self._models.name}/{VERSION}"

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """See `measure_batch`."""
        found = self.measure_batch([(clip, inputs)])[clip.id]
        if isinstance(found, Exception):
            raise found
        return found

    def measure_batch(self, items: Sequence[tuple[Clip, ClipInputs]]) -> dict[str, Measured | Exception]:
        """Clip id -> a row of `looks`, and one of `look_tracks` for the reference picture of each face track.

        aesthetic: LAION's score, mean of the frames. embedding: mean of the frames'. caption_similarity: cosine of
        that and the short caption's embedding (the long one does not fit into the text model); NULL without a caption.
        """
        done: dict[str, Measured | Exception] = {}
        for clip, inputs in items:
            try:
                done[clip.id] = self._measured(clip, inputs)
            except (Unmeasurable, Inapplicable, OSError) as error:
                done[clip.id] = error
        return done

    def _measured(self, clip: Clip, inputs: ClipInputs) -> Measured:
        frames = inputs.rows("frames")[0]
        pictures = unstacked(inputs.picture("frames", frames["frames_sha256"]), frames)
        tracks, causes = _rows_or_cause(inputs, "tracks", "faces")
        references = [inputs.picture("references", track["reference_sha256"]) for track in tracks]
        vectors = self._models.pictures([*pictures, *references])
        whole = vectors[: len(pictures)].mean(axis=0)
        whole /= max(float(np.linalg.norm(whole)), 1e-9)
        captions, no_caption = _rows_or_cause(inputs, "captions", "captions")
        said = self._models.texts([captions[0]["text_short"]])[0] if captions else None
        row = {
            "id": clip.id,
            "aesthetic": float(self._models.aesthetic(vectors[: len(pictures)]).mean()),
            "embedding": whole.tolist(),
            "caption_embedding": None if said is None else said.tolist(),
            "caption_similarity": None if said is None else float(whole @ said),
            "error": "; ".join([*causes, *no_caption]) or None,
        }
        rows = [
            {
                "id": f"{clip.id}_t{track['track']}",
                "clip_id": clip.id,
                "track": track["track"],
                "embedding": vector.tolist(),
            }
            for track, vector in zip(tracks, vectors[len(pictures) :], strict=True)
        ]
        return Measured(rows={"looks": [row], "look_tracks": rows})


def _rows_or_cause(inputs: ClipInputs, table: str, about: str) -> tuple[list[Row], list[str]]:
    """Rows of a table upstream, or why there are none: looks do without."""
    try:
        inputs.rows(about)
        return inputs.rows(table), []
    except (Unmeasurable, Inapplicable) as error:
        return [], [str(error)]
