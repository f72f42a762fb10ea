"""Overlaid text, found and taken for it: `python -m tests.benchmarks.overlaid_text`.

The footage is found by HUMO_FOOTAGE. Printed are the share of text in each file as it is, beside what it shows by eye,
and of the files without any in which share of them a line of each kind is found once it is written over them, and how
much of the line. A share above `--least` counts as found.
"""

import argparse
import os
import time
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.overlaid_text import LAG, SIDE, text_area
from schemas.sample import FPS
from tests.pipeline.backends.test_overlaid_text import KINDS, SUBTITLE, written

Gray = NDArray[np.uint8]
SHOWS = {
    "HuMo_text_audio_2.mp4": "signs of shops, in the scene",
    "HuMo_text_audio_6.mp4": "letters on a coat",
    "HuMo_text_image_4.mp4": "pictures set in",
    "Megatron-Energon_sync_test.mkv": "a caption of 5 pixels",
    "Megatron-Energon_sync_test.mp4": "a caption of 5 pixels",
    "PySceneDetect_counter.mp4": "a counter of two lines",
    "PySceneDetect_testvideo.mp4": "a watermark of two lines",
    "cosmos-curate_test_clip_10s.mp4": "a title that fades",
    "cosmos-curate_test_video_30s.mp4": "a title that fades",
    "face_recognition_short_hamilton_clip.mp4": "a logo of four letters",
    "facenet-pytorch_video.mp4": "a sign, in the scene",
    "video-retalking_2.mp4": "a map, in the scene",
}
"""By eye; the others show no letters."""
FIRST, STEP, LOOKS = 10, 40, 5


def pairs(path: Path) -> list[tuple[Gray, Gray]]:
    """Pictures of a file with those 0.16 s after them, as in clips, and no larger."""
    wanted = [FIRST + STEP * look for look in range(LOOKS)]
    found: dict[int, Gray] = {}
    with av.open(str(path)) as container:
        lag = max(1, round(LAG * float(container.streams.video[0].average_rate or FPS) / FPS))
        for number, frame in enumerate(islice(container.decode(video=0), wanted[-1] + lag + 1)):
            if number in wanted or number - lag in wanted:
                gray = frame.to_ndarray(format="gray")
                scale = min(1.0, SIDE / min(gray.shape))
                found[number] = np.asarray(cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return [(found[number], found[number + lag]) for number in wanted if number + lag in found]


def main() -> None:
    """Print a line a file, then one a kind of text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--least", type=float, default=0.003)
    least = parser.parse_args().least
    cv2.setNumThreads(1)
    folder = Path(os.environ.get("HUMO_FOOTAGE", "../shared/footage")) / "video"
    plain: dict[str, list[tuple[Gray, Gray]]] = {}
    spent, looks = 0.0, 0
    for path in sorted(folder.iterdir()):
        try:
            seen = pairs(path)
        except av.error.FFmpegError as error:
            print(f"{path.name}: {error.strerror}")
            continue
        start = time.process_time()
        shares = [text_area(now, later) for now, later in seen]
        spent, looks = spent + time.process_time() - start, looks + len(seen)
        if seen:
            print(f"{path.name[:44]:44} {np.mean(shares):.4f}  {SHOWS.get(path.name, '')}", flush=True)
        if path.name not in SHOWS and seen:
            plain[path.name] = seen
    print(f"{spent / looks * 1000:.0f} ms of processor a look")
    for kind, style in KINDS.items():
        text = {"text": SUBTITLE, **style}
        found, covered = [], []
        for seen in plain.values():
            (now, share), (later, _) = (written(picture, **text) for picture in seen[len(seen) // 2])  # type: ignore[arg-type]
            found.append(text_area(now, later))
            covered.append(found[-1] / share)
        recall = np.mean(np.array(found) > least)
        print(
            f"{kind:22} {len(found)} files: recall {recall:.2f}, of the line's area {np.median(covered):.2f} (median)"
        )


if __name__ == "__main__":
    main()
