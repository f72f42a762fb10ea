"""Shots: what a source is, and where its shots begin and end, from one decode of it.

Every time is measured on the presentation clock (the container's start is zero, and sound counts from the same zero),
so that variable frame rates, delayed starts and headers that lie make no difference. A shot leaves out the pictures of
the dissolve or fade at either end of it, pictures decoded from damaged data, and stretches without a picture.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.backends import pyav_decode, scenedetect_cuts
from pipeline.backends.pyav_decode import (
    Geometry,
    Losses,
    decode_pictures,
    geometry_of,
    open_footage,
    picture_stream,
    pixels_of,
)
from pipeline.backends.pyav_sound import has_sound
from pipeline.backends.transitions import (
    PICTURE_HEIGHT,
    PICTURE_WIDTH,
    Sensitivity,
    Transition,
    TransitionFinder,
)
from pipeline.backends.transnet_cuts import TransitionChances, load_transnetv2, runs
from pipeline.stage import Measured, Row, Source, Unmeasurable
from pipeline.stages.options.shots import ShotsConfig
from pipeline.weights.locate import Weights

BACKEND = f"{scenedetect_cuts.BACKEND}, {pyav_decode.BACKEND}"


SAME_TRANSITION = 3
"""Pictures that two finders may lie apart about one transition."""


@dataclass(kw_only=True)
class _Watched:
    """What one decode of a source showed."""

    times_us: NDArray[np.int64]
    end_us: int
    """When the last picture ends."""
    step_us: int
    """Median time between pictures."""
    damaged: NDArray[np.bool_]
    geometry: Geometry
    transitions: list[Transition]


CutFinder = Callable[[], TransitionChances]
"""Makes what finds further transitions in one source."""


def cut_finder(config: ShotsConfig, weights: Weights, *, device: str) -> CutFinder | None:
    """What joins PySceneDetect, with its model loaded; None where nothing does. Raises UserError."""
    if config.backend == "scenedetect":
        return None
    model = load_transnetv2(weights.find("transnetv2").folder, device)
    return lambda: TransitionChances(model)


def backend_of(config: ShotsConfig) -> str:
    """What rows record of the detectors."""
    return f"{BACKEND}, transnetv2" if config.backend == "transnetv2" else BACKEND


def detect_shots(source: Source, config: ShotsConfig, find_cuts: CutFinder | None = None) -> Measured:
    """One row for `sources`, and one for `shots` for every shot, in time order.

    A shot's span reaches from its first picture's time to that of the picture after its last. `boundary` is how it
    begins: start, cut, fade (from or to a blank picture) or dissolve; after damage or a gap it is a cut.

    Raises:
        Unmeasurable: it cannot be opened, shows fewer than two pictures, or is damaged for the most part.
    """
    watched = _watch(source.path, config, find_cuts() if find_cuts else None)
    with open_footage(source.path) as container:
        sound = has_sound(container)
    times_us = watched.times_us
    row: Row = {
        "id": source.id,
        "bytes": source.path.stat().st_size,
        "duration_us": watched.end_us,
        "width": watched.geometry.width,
        "height": watched.geometry.height,
        "fps": (len(times_us) - 1) * 1e6 / int(times_us[-1] - times_us[0]),
        "has_audio": sound,
    }
    return Measured(rows={"sources": [row], "shots": _shots(source.id, watched, config)})


def _watch(path: Path, config: ShotsConfig, chances: TransitionChances | None) -> _Watched:
    finder = TransitionFinder(
        Sensitivity(
            content_threshold=config.content_threshold,
            adaptive_ratio=config.adaptive_ratio,
            cut_spread=config.cut_spread,
            cut_prominence=config.cut_prominence,
            flash_us=round(config.flash_s * 1e6),
            line_residual=config.line_residual,
            likeness=config.likeness,
        )
    )
    losses = Losses()
    times, damaged = array("q"), array("b")
    geometry: Geometry | None = None
    end_us = 0
    # One for all pictures: each picture's own would set up a scaler for itself. Colours come after scaling: in one step
    # they would be made for more pixels.
    scaler, colours = VideoReformatter(), VideoReformatter()
    with open_footage(path) as container:
        stream = picture_stream(container)
        for picture in decode_pictures(container, stream, losses, finished=False):
            geometry = geometry or geometry_of(stream, picture.frame)
            times.append(picture.time_us)
            damaged.append(picture.damaged)
            end_us = picture.time_us + picture.duration_us
            small = scaler.reformat(
                picture.frame,
                width=PICTURE_WIDTH,
                height=PICTURE_HEIGHT,
                format="yuv420p",
                interpolation="AREA",
                threads=1,
            )
            seen = pixels_of(colours.reformat(small, format="bgr24", threads=1))
            finder.add(picture.time_us, seen)
            if chances is not None:
                chances.add(seen[..., ::-1])
    if geometry is None or len(times) < 2:
        because = f": {losses.last_error}" if losses.last_error else ""
        raise Unmeasurable(f"{len(times)} pictures decode, which is no video{because}")
    lost = losses.packets + sum(damaged)
    if lost > config.damaged * (len(times) + losses.packets):
        raise Unmeasurable(
            f"damaged: {losses.packets} packets do not decode ({losses.last_error or 'marked corrupt'}) and "
            f"{sum(damaged)} of {len(times)} pictures depend on broken data"
        )
    times_us = np.array(times, dtype=np.int64)
    return _Watched(
        times_us=times_us,
        end_us=end_us,
        step_us=int(np.median(np.diff(times_us))),
        damaged=np.array(damaged, dtype=np.bool_),
        geometry=geometry,
        transitions=joined(finder.finish(), chances.finish() if chances else None, config.transnetv2_threshold),
    )


def joined(found: list[Transition], chances_t: NDArray[np.float32] | None, threshold: float) -> list[Transition]:
    """Transitions of both finders; of one that both found, the measured one counts.

    `chances_t`: each picture's to end a shot; None where no second finder looked.
    """
    if chances_t is None:
        return found
    more = [Transition.between(first, last) for first, last in runs(chances_t, threshold)]
    near = [(one.first - SAME_TRANSITION, one.last + SAME_TRANSITION) for one in found]
    new = [one for one in more if all(one.last < start or one.first > end for start, end in near)]
    return sorted([*found, *new], key=lambda one: (one.first, one.last))


def _shots(source_id: str, watched: _Watched, config: ShotsConfig) -> list[Row]:
    times_us = watched.times_us
    count = len(times_us)
    usable = ~watched.damaged
    # How a shot that begins with this picture begins; pictures not named here continue a shot.
    begins: dict[int, str] = {0: "start"}
    for gap in np.flatnonzero(np.diff(times_us) > config.longest_gap_s * 1e6):
        begins[int(gap) + 1] = "cut"
    for transition in watched.transitions:
        usable[transition.first : transition.last] = False
        begins[transition.last] = transition.kind
    rows: list[Row] = []
    first = 0
    while first < count:
        if not usable[first]:
            first += 1
            continue
        last = first + 1
        while last < count and usable[last] and last not in begins:
            last += 1
        start_us = int(times_us[first])
        end_us = int(times_us[last]) if last < count else watched.end_us
        if end_us - int(times_us[last - 1]) > config.longest_gap_s * 1e6:
            end_us = int(times_us[last - 1]) + watched.step_us
        rows.append(
            {
                "id": f"{source_id}_{start_us}_{end_us}",
                "source_id": source_id,
                "start_us": start_us,
                "end_us": end_us,
                "boundary": begins.get(first, "cut"),
            }
        )
        first = last
    return rows
