"""Text laid over a picture is found, and what is no text, or moves, is not."""

from functools import partial
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.backends.overlaid_text import LAG, text_area
from pipeline.stage import Clip, ClipFrame
from pipeline.stages.quality import QualityConfig, QualityStage
from tests.pipeline.made_videos import texture

Gray = NDArray[np.uint8]

SUBTITLE = "I never said that you could come"


def written(
    picture: Gray,
    text: str,
    *,
    at: tuple[float, float] = (0.5, 0.92),
    size: float = 0.05,
    tone: int = 250,
    edge: int | None = 10,
    ground: int | None = None,
    strength: float = 1.0,
) -> tuple[Gray, float]:
    """The picture with a line of text, and the share of it that the line takes. `at`, `size`: of the short side."""
    height, width = picture.shape
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(round(size * min(picture.shape)))
    place = (at[0] * width, at[1] * height)
    outline = 0 if edge is None else max(1, min(picture.shape) // 300)
    x0, y0, x1, y1 = draw.textbbox(place, text, font=font, anchor="mm", stroke_width=outline)
    if ground is not None:
        draw.rectangle((x0 - 6, y0 - 4, x1 + 6, y1 + 4), fill=ground)
    draw.text(place, text, font=font, anchor="mm", fill=tone, stroke_width=outline, stroke_fill=edge)
    image = Image.blend(Image.fromarray(picture), image, strength)
    return compressed(np.asarray(image)), (x1 - x0) * (y1 - y0) / (width * height)


def compressed(picture: Gray) -> Gray:
    """As coding leaves it."""
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


KINDS = {
    "subtitle": {},
    "plain subtitle": {"edge": None, "tone": 240},
    "dark on a light band": {"edge": None, "tone": 20, "ground": 230},
    "white on a dark band": {"edge": None, "ground": 30},
    "caption in the middle": {"text": "SO TODAY WE TALK", "at": (0.5, 0.65), "size": 0.065},
    "title": {"text": "LAST SUMMER", "at": (0.5, 0.5), "size": 0.1, "edge": None},
    "watermark": {"text": "www.footage.example", "at": (0.7, 0.94), "edge": None, "tone": 255, "strength": 0.55},
    "clock": {"text": "12:34:56:07", "at": (0.3, 0.1)},
}
WITHOUT = (
    "LivePortrait_d18.mp4",
    "LivePortrait_d20.mp4",
    "LivePortrait_s18.mp4",
    "SadTalker_still1.mp4",
    "cosmos-curate_test_video_30s.mp4",
    "decord_flipping_a_pancake.mkv",
    "face_recognition_short_hamilton_clip.mp4",
    "torchcodec_nasa_13013.mp4",
    "video-retalking_1.mp4",
)


def scenes() -> list[tuple[Gray, Gray]]:
    """Pictures with structure of all sizes, that stand and that pan."""
    pairs = []
    for seed in range(6):
        scene = cv2.cvtColor(texture(seed, width=720, height=400), cv2.COLOR_RGB2GRAY).astype(np.uint8)
        pairs.append((scene[:, :640], scene[:, 12 * (seed % 3) : 640 + 12 * (seed % 3)]))
    return pairs


def frames_of(path: Path, *numbers: int) -> list[Gray]:
    """Pictures of a file, no larger than clips are."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in islice(container.decode(video=0), max(numbers) + 1)]
    scale = min(1.0, 480 / min(frames[0].shape))
    sized = (cv2.resize(frames[number], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for number in numbers)
    return [frame.astype(np.uint8, copy=False) for frame in sized]


@pytest.mark.parametrize("kind", KINDS)
def test_text_of_every_kind_is_found_over_still_and_moving_scenes(kind: str) -> None:
    style = {"text": SUBTITLE, **KINDS[kind]}
    for now, later in scenes():
        assert text_area(compressed(now), compressed(later)) == 0
        (now_written, share), (later_written, _) = written(now, **style), written(later, **style)
        assert 0.25 * share < text_area(now_written, later_written) < 1.5 * share


def test_pictures_of_footage_without_text_have_none_and_with_a_subtitle_have_some(footage: Path) -> None:
    for name in WITHOUT:
        now, later = frames_of(footage / "video" / name, 0, LAG)
        assert text_area(now, later) < 0.002, name
        (now_written, share), (later_written, _) = written(now, SUBTITLE), written(later, SUBTITLE)
        assert 0.4 * share < text_area(now_written, later_written) < 1.5 * share, name


@pytest.mark.parametrize(
    # The counter has ten pictures a second.
    ("name", "frames", "least"),
    [("PySceneDetect_counter.mp4", (5, 6), 0.014), ("PySceneDetect_testvideo.mp4", (40, 45), 0.02)],
)
def test_text_that_footage_has_burnt_in_is_found(
    footage: Path, name: str, frames: tuple[int, int], least: float
) -> None:
    assert least < text_area(*frames_of(footage / "video" / name, *frames)) < 0.1


def test_text_that_moves_with_the_scene_is_not_laid_over_it() -> None:
    scene, _ = scenes()[0]
    sign, share = written(np.pad(scene, ((0, 40), (0, 40)), mode="edge"), SUBTITLE, at=(0.5, 0.8))
    still = sign[:400, :640]
    assert text_area(still, still) > 0.7 * share
    for x, y in ((5, 0), (7, 2), (0, 4), (30, 20)):
        assert text_area(still, sign[y : 400 + y, x : 640 + x]) < 0.2 * share


def test_the_share_does_not_depend_on_the_size_of_the_picture() -> None:
    scene, _ = scenes()[0]
    shares = []
    for height in (240, 480, 960):
        sized = np.asarray(cv2.resize(scene, (height * 8 // 5, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        picture, _ = written(sized, SUBTITLE)
        shares.append(text_area(picture, picture))
    assert shares == pytest.approx([shares[1]] * 3, rel=0.25)
    assert shares[1] > 0.01


def quality_of(frames: list[Gray]) -> dict[str, object]:
    height, width = frames[0].shape
    about = {"source_id": "", "shot_id": "", "start_us": 0, "end_us": 0, "media_sha256": "", "audio_sha256": None}
    clip = Clip(id="c", frames=len(frames), width=width, height=height, **about)
    meter = QualityStage(QualityConfig()).start(clip)
    for index, frame in enumerate(frames):
        meter.add(index, ClipFrame(frame, partial(cv2.cvtColor, frame, cv2.COLOR_GRAY2RGB)))
    (row,) = meter.finish().rows["quality"]
    return row


def test_a_subtitle_counts_by_the_time_it_stands() -> None:
    scene, _ = scenes()[0]
    plain, (subtitled, _) = compressed(scene), written(scene, SUBTITLE)
    whole = text_area(subtitled, subtitled)
    for lit in (0, 24, 49):
        row = quality_of([subtitled] * lit + [plain] * (49 - lit))
        assert row["text_area"] == pytest.approx(whole * round(lit / 12.25) / 4)
        assert row["error"] is None


def test_a_clip_too_short_to_tell_says_so() -> None:
    scene, _ = scenes()[0]
    assert quality_of([scene] * 5)["text_area"] == 0
    row = quality_of([scene] * 4)
    assert row["text_area"] is None
    assert "too short to tell text" in str(row["error"])
