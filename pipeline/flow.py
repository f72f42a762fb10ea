"""The flow, on one page: which stage makes which tables, from what.

    sources -shots-> clips -+- quality --> duplicates -+
                            +- faces ----> identities -+-> candidates -> references -> decisions -> shards
                            +- speech ---> sync -------+
                            +- vocals
                            +- frames -> captions -> looks

Item stages depend on one source or one clip, and run in passes: the stages of a pass share a process, and those that
look at frames share one decode. Set stages are functions of the sorted committed rows of all items.
"""

from dataclasses import dataclass
from typing import Literal

from pipeline.stages.options import (
    candidates,
    captions,
    clips,
    duplicates,
    faces,
    frames,
    identities,
    looks,
    quality,
    shots,
    speech,
    sync,
    vocals,
)

VIDEO = ("av", "opencv-python-headless")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage's place in the flow. Its options are the configuration's section of the same name, or `section`.

    `packages`: distributions whose version may change a result. With `version` (of the stage's own code) and the
    options they make the stage's fingerprint.
    """

    name: str
    per: Literal["source", "clip", "set"]
    tables: tuple[str, ...]
    needs: tuple[str, ...]
    version: int
    packages: tuple[str, ...] = ()
    section: str = ""


STAGES = (
    Stage(
        name="shots",
        per="source",
        tables=("sources", "shots"),
        needs=(),
        version=shots.VERSION,
        packages=("scenedetect-headless", *VIDEO),
    ),
    Stage(name="clips", per="source", tables=("clips",), needs=("shots",), version=clips.VERSION, packages=VIDEO),
    Stage(name="quality", per="clip", tables=("quality",), needs=("clips",), version=quality.VERSION, packages=VIDEO),
    Stage(
        name="faces", per="clip", tables=("faces", "tracks"), needs=("clips",), version=faces.VERSION, packages=VIDEO
    ),
    Stage(name="frames", per="clip", tables=("frames",), needs=("clips",), version=frames.VERSION, packages=VIDEO),
    Stage(
        name="speech",
        per="clip",
        tables=("speech",),
        needs=("clips",),
        version=speech.VERSION,
        packages=("silero-vad", "onnxruntime", "scipy"),
    ),
    Stage(
        name="vocals",
        per="clip",
        tables=("vocals",),
        needs=("clips",),
        version=vocals.VERSION,
        packages=("scipy",),
    ),
    Stage(
        name="sync",
        per="clip",
        tables=("sync", "sync_tracks"),
        needs=("clips", "faces", "speech"),
        version=sync.VERSION,
    ),
    Stage(
        name="captions",
        per="clip",
        tables=("captions",),
        needs=("quality", "faces", "frames", "speech"),
        version=captions.VERSION,
    ),
    Stage(
        name="looks",
        per="clip",
        tables=("looks", "look_tracks"),
        needs=("faces", "frames", "captions"),
        version=looks.VERSION,
    ),
    Stage(name="duplicates", per="set", tables=("duplicates",), needs=("quality",), version=duplicates.VERSION),
    Stage(name="identities", per="set", tables=("identities",), needs=("faces",), version=identities.VERSION),
    Stage(
        name="candidates",
        per="set",
        tables=("candidates",),
        needs=("faces", "identities", "duplicates"),
        version=candidates.VERSION,
    ),
    Stage(
        name="references",
        per="set",
        tables=("references",),
        needs=("sync", "looks", "candidates"),
        version=1,
        section="decide.references",
    ),
    Stage(
        name="decide",
        per="set",
        tables=("decisions",),
        needs=(
            "quality",
            "faces",
            "speech",
            "vocals",
            "sync",
            "captions",
            "looks",
            "duplicates",
            "identities",
            "references",
        ),
        version=2,
    ),
    Stage(name="pack", per="set", tables=("index",), needs=("references", "decide"), version=2),
)

STAGE = {stage.name: stage for stage in STAGES}

CUT = ("shots", "clips")
"""The pass over sources. It decodes a source twice: to find its shots, and to cut them."""

MEASURE = ("quality", "frames", "faces", "speech", "vocals", "sync", "captions", "looks")
"""The stages over clips, in the order in which they need each other. Those that run together decode a clip once."""

SETS = ("duplicates", "identities", "candidates")
"""Set stages before the decisions, in order."""

DECISIONS = ("references", "decide")
"""Set stages that apply thresholds, in order."""


def downstream(names: set[str]) -> set[str]:
    """These stages and all that stand on them."""
    reached = set(names)
    for stage in STAGES:
        if reached.intersection(stage.needs):
            reached.add(stage.name)
    return reached
