"""Hard cuts and dissolves between real clips joined at random: `python tests/benchmarks/shots.py --films 12`.

The clips are found by HUMO_FOOTAGE. Each film has 24 pieces; about half of its boundaries are cuts, the others
dissolves of 8 to 30 pictures. Printed are precision, recall and F1 for every value of `likeness` asked for.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from pipeline.stages.shots import ShotsConfig
from tests.pipeline.concatenations import ONE_SHOT, Score, make_film, read_pictures, score_film


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--pieces", type=int, default=24)
    parser.add_argument("--likeness", type=float, nargs="+", default=[ShotsConfig().likeness])
    asked = parser.parse_args()
    folder = Path(os.environ.get("HUMO_FOOTAGE", "../shared/footage")) / "video"
    clips = [read_pictures(folder / name) for name in ONE_SHOT]
    print("likeness  kind       there  found  right  precision  recall  F1")
    with tempfile.TemporaryDirectory() as scratch:
        for likeness in asked.likeness:
            totals = {"cut": Score(), "dissolve": Score()}
            for seed in range(asked.films):
                film = make_film(clips, np.random.default_rng(seed), pieces=asked.pieces, dissolves=0.5)
                scores = score_film(film, Path(scratch) / "film.mkv", ShotsConfig(likeness=likeness))
                for total, score in zip(totals.values(), scores, strict=True):
                    total.found += score.found
                    total.there += score.there
                    total.right += score.right
            for kind, total in totals.items():
                precision, recall = total.right / max(total.found, 1), total.right / max(total.there, 1)
                print(
                    f"{likeness:8.2f}  {kind:9}  {total.there:5}  {total.found:5}  {total.right:5}  {precision:9.4f}  "
                    f"{recall:6.4f}  {total.f1:.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
