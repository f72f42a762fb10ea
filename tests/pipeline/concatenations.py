"""Films made of real clips: joined at random places by hard cuts and by dissolves, whose places are known."""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.stage import Source
from pipeline.stages.shots import ShotsConfig, detect_shots
from tests.pipeline.made_videos import Picture, steady, write_video

ONE_SHOT = (
    "HuMo_text_audio_2.mp4", "HuMo_text_audio_6.mp4", "HuMo_text_image_4.mp4", "LatentSync_demo1_video.mp4",
    "LatentSync_demo2_video.mp4", "LatentSync_demo3_video.mp4", "LivePortrait_d18.mp4", "LivePortrait_d20.mp4",
    "LivePortrait_s18.mp4", "SadTalker_art_0__japanese.mp4", "SadTalker_still1.mp4", "decord_flipping_a_pancake.mkv",
    "facenet-pytorch_video.mp4", "video-retalking_1.mp4", "video-retalking_2.mp4",
)  # fmt: skip
"""Real clips that show one shot each."""
WIDTH, HEIGHT = 288, 160
SHORTEST, LONGEST = 20, 95
"""Pictures of a piece that nothing is mixed into."""
DISSOLVES = (8, 30)
"""Pictures of a dissolve, at least and at most."""
FRAME_MS = 40


@dataclass(frozen=True, kw_only=True)
class Film:
    """A film at 25 pictures a second, its cuts (first picture of a shot) and dissolves (first, one after the last)."""

    pictures: list[Picture]
    cuts: list[int] = field(default_factory=list)
    dissolves: list[tuple[int, int]] = field(default_factory=list)


@dataclass(kw_only=True)
class Score:
    """How many boundaries were found, were there, and are right."""

    found: int = 0
    there: int = 0
    right: int = 0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.right / max(self.found + self.there, 1)


def read_pictures(path: Path, *, limit: int = 150) -> list[Picture]:
    """The first pictures of a file, RGB (HEIGHT, WIDTH, 3), whatever their aspect."""
    pictures: list[Picture] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            small = frame.reformat(width=WIDTH, height=HEIGHT, format="rgb24", interpolation="AREA")
            pictures.append(np.asarray(small.to_ndarray(), dtype=np.uint8))
            if len(pictures) == limit:
                break
    return pictures


def make_film(clips: list[list[Picture]], rng: np.random.Generator, *, pieces: int, dissolves: float) -> Film:
    """Pieces of the clips, none beside another of the same clip. `dissolves`: their share of the boundaries."""
    film = Film(pictures=[])
    last, alone = -1, 0
    for number in range(pieces):
        which = int(rng.choice([index for index in range(len(clips)) if index != last]))
        last = which
        mixed = int(rng.integers(DISSOLVES[0], DISSOLVES[1] + 1)) if rng.random() < dissolves else 0
        # Of the piece before, the shortest that a piece may be is left alone.
        mixed = mixed if alone - SHORTEST >= mixed else 0
        length = min(int(rng.integers(SHORTEST, LONGEST + 1)) + mixed, len(clips[which]))
        alone = length - mixed
        start = int(rng.integers(0, len(clips[which]) - length + 1))
        piece = clips[which][start : start + length]
        at = len(film.pictures)
        for step in range(mixed):
            share = (step + 1) / (mixed + 1)
            before = film.pictures[at - mixed + step]
            film.pictures[at - mixed + step] = np.asarray(cv2.addWeighted(before, 1 - share, piece[step], share, 0))
        film.pictures.extend(piece[mixed:])
        if mixed:
            film.dissolves.append((at - mixed, at))
        elif number:
            film.cuts.append(at)
    return film


def score_film(film: Film, path: Path, config: ShotsConfig) -> tuple[Score, Score]:
    """Write the film to `path`, find its shots, and count hard cuts (within one picture) and dissolves.

    A dissolve is found where a boundary of any kind lies in it; a cut found there is no false one.
    """
    write_video(path, film.pictures, times_ms=steady(len(film.pictures)), gop=50)
    shots = detect_shots(Source(id="film", path=path), config).rows["shots"]
    shots.sort(key=lambda shot: int(shot["start_us"]))
    cuts, dissolves = Score(there=len(film.cuts)), Score(there=len(film.dissolves))
    open_cuts, open_dissolves = set(film.cuts), set(film.dissolves)
    for before, shot in pairwise(shots):
        first, last = (round(time / 1000 / FRAME_MS) for time in (before["end_us"], shot["start_us"]))
        inside = next((span for span in film.dissolves if first <= span[1] + 1 and last >= span[0] - 1), None)
        if inside is not None:
            dissolves.found += 1
            dissolves.right += inside in open_dissolves
            open_dissolves.discard(inside)
            continue
        score = cuts if shot["boundary"] == "cut" else dissolves
        score.found += 1
        if score is cuts:
            near = next((cut for cut in open_cuts if abs(cut - last) <= 1), None)
            if near is not None:
                cuts.right += 1
                open_cuts.discard(near)
    return cuts, dissolves
