"""Copies of real clips, and a studio's worth of clips that look alike: `python tests/benchmarks/duplicates.py`.

The footage is found by HUMO_FOOTAGE. Every clip of it is copied five times: re-encoded at a low rate, scaled to half,
cropped by 5 % of its sides, with a logo, and shifted by half a second; each copy goes through the encoder again.
Printed are, for each way of copying, how many copies were joined with their original, and which clips of different
footage were joined falsely.
`--studio 2000 20000`: how long it takes to compare so many clips of one desk in which another person speaks each time.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.pyav_decode import clip_frames
from pipeline.backends.signature import LOOKS_SIDE, MOVES_SIDE
from pipeline.stage import Clip, Row, Source, Unmeasurable
from pipeline.stages.clips import ClipsConfig, cut_clips
from pipeline.stages.duplicates import DuplicatesConfig, find_duplicates
from pipeline.stages.quality import QualityConfig, QualityStage
from pipeline.stages.shots import ShotsConfig, detect_shots

Frames = list[NDArray[np.uint8]]
HALF_A_SECOND = 12
COPIES: dict[str, tuple[int, Callable[[Frames], Frames]]] = {
    "low rate": (35, lambda frames: frames),
    "half size": (
        23,
        lambda frames: [cv2.resize(f, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for f in frames],
    ),
    "crop 5 %": (23, lambda frames: [_inner(frame, 0.05) for frame in frames]),
    "logo": (23, lambda frames: [_marked(frame) for frame in frames]),
    "shift 0.5 s": (23, lambda frames: frames[HALF_A_SECOND:]),
}
"""Way of copying -> x264's constant rate factor, and what is done to the frames."""


def _inner(frame: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    y, x = round(height * share / 2), round(width * share / 2)
    return frame[y : height - y, x : width - x]


def _marked(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    marked = frame.copy()
    cv2.rectangle(
        marked, (int(0.78 * width), int(0.05 * height)), (int(0.95 * width), int(0.14 * height)), (250, 200, 20), -1
    )
    cv2.putText(marked, "NEWS", (int(0.79 * width), int(0.12 * height)), 0, height / 500, (20, 20, 120), 2)
    return marked


def encoded(frames: Frames, *, crf: int) -> bytes:
    """The frames as H.264."""
    file = BytesIO()
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def measured(name: str, media: bytes, stage: QualityStage) -> tuple[Row, Frames]:
    """The clip's row of `quality`, and its frames."""
    frames = [frame for _, frame in clip_frames(media)]
    height, width = frames[0].gray_hw.shape
    facts = {"source_id": "", "shot_id": "", "start_us": 0, "end_us": 0, "media_sha256": "", "audio_sha256": None}
    meter = stage.start(Clip(id=name, frames=len(frames), width=width, height=height, **facts))
    for index, frame in enumerate(frames):
        meter.add(index, frame)
    row = {**meter.finish().rows["quality"][0], "status": "ok", "width": width, "height": height}
    return row, [frame.rgb_hwc for frame in frames]


def real_clips(folder: Path) -> list[tuple[str, bytes]]:
    """Name and video of every clip of the footage."""
    found = []
    for path in sorted(folder.iterdir()):
        source = Source(id=path.stem, path=path)
        try:
            shots = detect_shots(source, ShotsConfig()).rows["shots"]
            with tempfile.TemporaryDirectory() as scratch:
                for made in cut_clips(source, shots, ClipsConfig(), Path(scratch)):
                    found.append((f"{path.stem} {made.rows['clips'][0]['start_us']}", made.media[0].data))
        except Unmeasurable as error:
            print(f"{path.name}: {error}")
    return found


def compared(rows: list[Row]) -> list[Row]:
    """The rows of `duplicates`."""
    with tempfile.TemporaryDirectory() as scratch:
        ordered = sorted(rows, key=lambda row: str(row["id"]))
        pieces = find_duplicates(ordered, DuplicatesConfig(), folder=Path(scratch))
        return sorted((row for piece in pieces for row in piece.rows), key=lambda row: str(row["id"]))


def same_footage(one: str, other: str) -> bool:
    """What is the same clip by its name, the two containers of one test picture included."""
    first, second = (name.partition("|")[0] for name in (one, other))
    periodic = all("sync_test" in name for name in (first, second))
    return first == second or periodic


def show_copies(folder: Path) -> None:
    """Print the table of copies found."""
    stage = QualityStage(QualityConfig())
    rows: list[Row] = []
    for name, media in real_clips(folder):
        row, frames = measured(name, media, stage)
        rows.append(row)
        for way, (crf, change) in COPIES.items():
            rows.append(measured(f"{name}|{way}", encoded(change(frames), crf=crf), stage)[0])
    found = {row["id"]: row for row in compared(rows)}
    originals = [name for name in found if "|" not in name]
    print(f"{len(originals)} clips; way of copying: found with the original / copies; the original is the better one")
    for way in COPIES:
        right = [name for name in originals if found[f"{name}|{way}"]["group"] == found[name]["group"]]
        missed = sorted(set(originals) - set(right))
        better = sum(not found[name]["is_duplicate"] for name in right)
        print(f"  {way:12} {len(right)}/{len(originals)}  {better}   missed: {', '.join(missed) or 'none'}")
    groups: dict[str, list[str]] = {}
    for name, row in found.items():
        groups.setdefault(row["group"], []).append(name)
    pairs = [(one, other) for members in groups.values() for one in members for other in members if one < other]
    false = sorted(
        {
            tuple(sorted({one.partition("|")[0], other.partition("|")[0]}))
            for one, other in pairs
            if not same_footage(one, other)
        }
    )
    right_pairs = sum(same_footage(one, other) for one, other in pairs)
    print(
        f"pairs in one group: {len(pairs)}, of one footage {right_pairs}: "
        f"precision {right_pairs / max(len(pairs), 1):.4f}"
    )
    print("falsely joined:", false or "none")


def studio(count: int, rng: np.random.Generator) -> list[Row]:
    """Clips of one desk: the same looks, and movement of a head that is another each time."""
    looks = rng.integers(30, 220, LOOKS_SIDE**2)
    where = np.exp(-((np.arange(MOVES_SIDE) - 2.5) ** 2) / 2)
    head = np.outer(where, where).ravel()
    rows = []
    for number in range(count):
        moves = np.cumsum(rng.normal(0, 1, (49, 3)), axis=0) @ rng.normal(0, 1, (3, MOVES_SIDE**2)) * head
        cells = moves + rng.normal(0, 0.05, moves.shape)
        step = np.float32(np.abs(cells).max() / 127)
        own = np.clip(looks + rng.normal(0, 3, looks.shape), 0, 255).round().astype(np.uint8)
        signature = own.tobytes() + step.astype("<f4").tobytes() + (cells / step).round().astype(np.int8).tobytes()
        rows.append(
            {
                "id": f"c{number:07}",
                "status": "ok",
                "signature": signature,
                "sharpness": 0.5,
                "width": 832,
                "height": 480,
            }
        )
    return rows


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studio", type=int, nargs="*", default=[1000, 4000])
    parser.add_argument("--no-copies", action="store_true")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    if not asked.no_copies:
        show_copies(Path(os.environ.get("HUMO_FOOTAGE", "../shared/footage")) / "video")
    for count in asked.studio:
        rows = studio(count, np.random.default_rng(0))
        start = time.process_time()
        groups = {row["group"] for row in compared(rows)}
        print(f"{count} clips of one studio: {time.process_time() - start:.1f} s, {len(groups)} groups", flush=True)


if __name__ == "__main__":
    main()
