from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline.backends.pyav_decode import decode_clip
from pipeline.stage import Inapplicable, Measured, Row, Source, Unmeasurable
from pipeline.stages.clips import ClipsConfig, cut_clips, plan_windows
from pipeline.stages.shots import ShotsConfig, detect_shots
from pipeline.store.parts import to_arrow
from tests.pipeline.made_videos import Picture, clicks, number_in, numbered, onsets_s, steady, texture, write_video


def shot(start_us: int, end_us: int, boundary: str = "start") -> Row:
    return {"id": f"s_{start_us}_{end_us}", "start_us": start_us, "end_us": end_us, "boundary": boundary}


def cut(path: Path, tmp_path: Path, shots: list[Row], **options: Any) -> list[Measured]:
    folder = tmp_path / "making"
    folder.mkdir(exist_ok=True)
    config = ClipsConfig(**{"frames": 17, "min_frames": 9, **options})
    clips = list(cut_clips(Source(id="source", path=path), shots, config, folder))
    assert list(folder.iterdir()) == []
    to_arrow("clips", [{**c.rows["clips"][0], "status": "ok", "backend": "b", "fingerprint": "f"} for c in clips])
    return clips


def row_of(clip: Measured) -> Row:
    (row,) = clip.rows["clips"]
    return row


def frames_of(clip: Measured) -> list[Picture]:
    frames = [frame for _, frame in decode_clip(clip.media[0].data)]
    assert len(frames) == row_of(clip)["frames"]
    assert frames[0].shape == (row_of(clip)["height"], row_of(clip)["width"], 3)
    return frames


def sound_of(clip: Measured) -> NDArray[np.int16]:
    samples, rate = soundfile.read(BytesIO(clip.media[1].data), dtype="int16")
    assert rate == 16_000
    assert samples.shape == (640 * row_of(clip)["frames"],)
    return np.asarray(samples)


def counted(count: int, seed: int = 1, **size: int) -> list[Picture]:
    scene = texture(seed, **size)
    return [numbered(scene, number) for number in range(count)]


def nearest(times_ms: list[int], at_ms: float) -> int:
    return min(range(len(times_ms)), key=lambda number: (abs(times_ms[number] - at_ms), number))


shots_strategy = st.lists(
    st.tuples(st.integers(0, 3_000_000), st.integers(0, 20_000_000), st.sampled_from(["cut", "fade", "dissolve"])),
    min_size=1,
    max_size=5,
)


@given(
    steps=shots_strategy,
    sizes=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    margin_s=st.floats(0, 0.5),
)
def test_windows_lie_in_their_shots_and_leave_less_than_another(
    steps: list[tuple[int, int, str]], sizes: tuple[int, int], margin_s: float
) -> None:
    least, most = sorted(4 * size + 1 for size in sizes)
    config = ClipsConfig(frames=most, min_frames=least, margin_s=margin_s)
    shots: list[Row] = []
    at = 0
    for gap, length, boundary in steps:
        shots.append(shot(at + gap, at + gap + length, boundary))
        at += gap + length
    windows = plan_windows(shots, config)
    assert all(one.end_us <= other.start_us for one, other in pairwise(windows))
    for row in shots:
        own = [window for window in windows if window.shot_id == row["id"] and window.shot_end_us == row["end_us"]]
        margins = round(margin_s * 1e6) * (1 if row is shots[-1] else 2)
        room = (row["end_us"] - row["start_us"] - margins + 1000) // 40_000
        assert all(window.frames == most for window in own[:-1])
        assert all(window.frames % 4 == 1 and least <= window.frames <= most for window in own)
        assert all(row["start_us"] <= window.start_us for window in own)
        assert all(window.end_us <= row["end_us"] + 1000 for window in own)
        left = room - sum(window.frames for window in own)
        assert left < max(least, 4) if own and own[-1].frames < most else left < least


@pytest.mark.parametrize(("frames", "least"), [(16, 9), (17, 8), (9, 17)])
def test_sizes_that_cannot_be(frames: int, least: int) -> None:
    with pytest.raises(ValueError, match="frames"):
        ClipsConfig(frames=frames, min_frames=least)


def test_frames_are_those_of_the_source(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", counted(60), times_ms=steady(60))
    first, second = cut(path, tmp_path, [shot(400_000, 2_000_000, "cut")], margin_s=0.08)
    assert [number_in(frame) for frame in frames_of(first)] == list(range(12, 29))
    assert [number_in(frame) for frame in frames_of(second)] == list(range(29, 46))
    assert row_of(first)["id"] == "source_480000_1160000"
    assert row_of(first)["transform"] == {"x0": 0, "y0": 0, "x1": 320, "y1": 192, "rotation_deg": 0, "scale": 1}
    assert row_of(first)["audio_sha256"] is None
    assert len(first.media) == 1


@pytest.mark.parametrize("fps", [10.0, 23.976, 30.0, 60.0])
def test_each_frame_is_the_nearest_in_time(tmp_path: Path, fps: float) -> None:
    times = steady(int(fps * 2), fps=fps)
    path = write_video(tmp_path / "a.mkv", counted(len(times)), times_ms=times)
    (clip, *_) = cut(path, tmp_path, [shot(times[3] * 1000, 1_900_000)])
    expected = [nearest(times, times[3] + 40 * frame) for frame in range(17)]
    assert [number_in(frame) for frame in frames_of(clip)] == expected


def test_a_variable_rate_is_resampled_by_time(tmp_path: Path) -> None:
    times = [0, *np.cumsum(np.random.default_rng(3).choice([11, 33, 40, 120], 60)).tolist()]
    path = write_video(tmp_path / "a.mkv", counted(len(times)), times_ms=times)
    clips = cut(path, tmp_path, [shot(0, times[-1] * 1000)])
    numbers = [number_in(frame) for clip in clips for frame in frames_of(clip)]
    assert numbers == [nearest(times, 40 * frame) for frame in range(len(numbers))]


def test_frames_never_come_from_another_shot(tmp_path: Path) -> None:
    """At 5 pictures a second the nearest picture to a frame may lie beyond the cut."""
    times = steady(20, fps=5)
    path = write_video(tmp_path / "a.mkv", counted(20), times_ms=times)
    (clip,) = cut(path, tmp_path, [shot(1_000_000, 1_400_000, "cut"), shot(1_400_000, 1_500_000, "cut")], margin_s=0.0)
    assert {number_in(frame) for frame in frames_of(clip)} == {5, 6}


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_clips_stand_upright(tmp_path: Path, rotation: int) -> None:
    lying = [np.rot90(picture, -rotation // 90) for picture in counted(20)]
    path = write_video(tmp_path / "a.mp4", lying, times_ms=steady(20), rotation_deg=rotation)
    (clip,) = cut(path, tmp_path, [shot(0, 800_000)])
    assert [number_in(frame) for frame in frames_of(clip)] == list(range(17))
    assert row_of(clip)["transform"]["rotation_deg"] == rotation


def test_pixels_are_made_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", counted(20), times_ms=steady(20), pixel_aspect=Fraction(1, 2))
    (clip,) = cut(path, tmp_path, [shot(0, 800_000)])
    frames = frames_of(clip)
    assert frames[0].shape == (192, 160, 3)
    squeezed = texture(1)[:, ::2]
    assert np.abs(frames[0][20:].astype(int) - squeezed[20:]).mean() < 6


@pytest.mark.parametrize(
    ("width", "height", "limit", "expected"),
    [(640, 360, 96, (160, 96)), (360, 640, 96, (96, 160)), (334, 190, 480, (320, 176)), (100, 50, 480, (96, 48))],
)
def test_sides_are_multiples_of_sixteen_and_nothing_is_scaled_up(
    tmp_path: Path, width: int, height: int, limit: int, expected: tuple[int, int]
) -> None:
    scene = texture(4, width=width, height=height)
    path = write_video(tmp_path / "a.mp4", [scene] * 20, times_ms=steady(20))
    (clip,) = cut(path, tmp_path, [shot(0, 800_000)], short_side=limit)
    row, shown = row_of(clip), row_of(clip)["transform"]
    assert (row["width"], row["height"]) == expected
    assert shown["scale"] <= 1
    assert (shown["x1"] - shown["x0"]) * shown["scale"] == pytest.approx(row["width"], abs=0.01)
    assert (shown["y1"] - shown["y0"]) * shown["scale"] == pytest.approx(row["height"], abs=0.01)
    assert shown["x0"] == pytest.approx(width - shown["x1"])


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(640, 360, (848, 480)), (640, 352, (848, 480)), (360, 640, (480, 848)), (400, 384, (480, 480))],
)
def test_clips_are_cut_to_the_nearest_shape(tmp_path: Path, width: int, height: int, expected: tuple[int, int]) -> None:
    scene = cv2.resize(texture(4, width=width, height=height), (width * 2, height * 2))
    path = write_video(tmp_path / "a.mp4", [scene] * 12, times_ms=steady(12))
    (clip,) = cut(path, tmp_path, [shot(0, 480_000)], short_side=480, aspects=("16:9", "1:1", "9:16"))
    shown = row_of(clip)["transform"]
    assert (row_of(clip)["width"], row_of(clip)["height"]) == expected
    assert shown["x0"] == pytest.approx(2 * width - shown["x1"])
    assert shown["y0"] == pytest.approx(2 * height - shown["y1"])
    assert min(shown["x0"], shown["y0"]) >= 0


@pytest.mark.parametrize("aspect", ["16x9", "0:9", "16:9:1", "-1:1"])
def test_a_shape_that_is_none_is_refused(aspect: str) -> None:
    with pytest.raises(ValidationError, match="aspects"):
        ClipsConfig(aspects=(aspect,))


def test_a_tiny_picture_gives_no_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [texture(1)[:12, :32]] * 20, times_ms=steady(20))
    with pytest.raises(Inapplicable, match="32 x 12"):
        cut(path, tmp_path, [shot(0, 800_000)])


def test_black_bars_are_cut_off(tmp_path: Path) -> None:
    boxed = np.full((288, 320, 3), 0, np.uint8)
    boxed[48:-48] = texture(1).clip(60, 240)
    path = write_video(tmp_path / "a.mp4", [boxed] * 20, times_ms=steady(20))
    (clip,) = cut(path, tmp_path, [shot(0, 800_000)])
    assert row_of(clip)["height"] == 176
    assert row_of(clip)["transform"]["y0"] == pytest.approx(50 + 6, abs=2)
    assert frames_of(clip)[0].mean(axis=(1, 2)).min() > 60


@pytest.mark.parametrize(
    ("matrix", "number", "format_", "full"),
    [
        ("ITU709", 1, "yuv444p", False),
        ("ITU709", 1, "yuv420p10le", False),
        ("ITU709", 1, "yuv420p", True),
        ("ITU601", 6, "yuv420p", False),
    ],
)
def test_colours_survive_whatever_matrix_the_source_has(
    tmp_path: Path, matrix: str, number: int, format_: str, full: bool
) -> None:
    patches = np.zeros((96, 160, 3), np.uint8)
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (190, 180, 50), (128, 128, 128)]
    for place, colour in enumerate(colours):
        patches[:, place * 32 : place * 32 + 32] = colour
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, format_
        stream.codec_context.colorspace = number
        stream.codec_context.color_range = 2 if full else 1
        for _ in range(20):
            frame = av.VideoFrame.from_ndarray(patches, format="rgb24")
            container.mux(
                stream.encode(
                    frame.reformat(format=format_, dst_colorspace=matrix, dst_color_range="JPEG" if full else "MPEG")
                )
            )
        container.mux(stream.encode())
    (clip,) = cut(path, tmp_path, [shot(0, 800_000)])
    frame = frames_of(clip)[5]
    for place, colour in enumerate(colours):
        assert frame[20:-20, place * 32 + 8 : place * 32 + 24].mean(axis=(0, 1)) == pytest.approx(colour, abs=4)


def test_sound_comes_from_the_same_clock(tmp_path: Path) -> None:
    """Clicks at the times of pictures 20 and 45 stand at those pictures in every clip."""
    path = write_video(
        tmp_path / "a.mkv", counted(75), times_ms=steady(75), sound=clicks(3.0, [0.8, 1.8]), sound_rate=44_100
    )
    clips = cut(path, tmp_path, [shot(240_000, 3_000_000, "cut")], frames=33)
    heard = [row_of(clip)["start_us"] / 1e6 + at for clip in clips for at in onsets_s(sound_of(clip))]
    assert heard == pytest.approx([0.8 * 48 / 44.1, 1.8 * 48 / 44.1], abs=0.0003)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_late_sound_and_gaps_are_silence(tmp_path: Path, suffix: str) -> None:
    """Three pieces of a second, at 0.5, 1.75 and 3.25 s; each has its click 0.25 s in."""
    piece = clicks(1.0, [0.25])
    path = write_video(
        tmp_path / f"a{suffix}",
        counted(120),
        times_ms=steady(120),
        sound=np.concatenate([piece] * 3),
        sound_at_ms=(500, 1750, 3250),
    )
    (clip,) = cut(path, tmp_path, [shot(0, 4_800_000)], frames=117, min_frames=117)
    assert onsets_s(sound_of(clip)) == pytest.approx([0.75, 2.0, 3.5], abs=0.001)


def test_sound_that_overlaps_itself_does_not_drift(tmp_path: Path) -> None:
    """The second piece is stamped 15 ms before the first ends."""
    path = write_video(
        tmp_path / "a.mkv",
        counted(50),
        times_ms=steady(50),
        sound=np.concatenate([clicks(1.0, [0.25]), clicks(1.0, [0.5])]),
        sound_at_ms=(0, 985),
    )
    (clip,) = cut(path, tmp_path, [shot(0, 2_000_000)], frames=49, min_frames=49)
    assert onsets_s(sound_of(clip)) == pytest.approx([0.25, 1.485], abs=0.001)


def test_equal_input_gives_equal_bytes_without_dates(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", counted(40), times_ms=steady(40), sound=clicks(1.6, [0.5]))
    shots = [shot(0, 1_600_000)]
    one, other = cut(path, tmp_path, shots), cut(path, tmp_path, shots)
    assert [[medium.data for medium in clip.media] for clip in one] == [
        [medium.data for medium in clip.media] for clip in other
    ]
    assert [row_of(clip) for clip in one] == [row_of(clip) for clip in other]
    with av.open(BytesIO(one[0].media[0].data)) as container:
        assert "creation_time" not in container.metadata
        assert container.streams.audio == ()
        assert container.streams.video[0].average_rate == 25
        assert container.streams.video[0].start_time == 0


def test_a_source_that_ends_early_has_a_reason(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", counted(20), times_ms=steady(20))
    with pytest.raises(Unmeasurable, match="no picture decodes between"):
        cut(path, tmp_path, [shot(2_000_000, 4_000_000, "cut")])


def test_counter(footage: Path, tmp_path: Path) -> None:
    """30 frames at 10 fps with their number burnt in; a clip's frame is told by its likeness to the source's frames."""
    path = footage / "video" / "PySceneDetect_counter.mp4"
    shots = detect_shots(Source(id="c", path=path), ShotsConfig()).rows["shots"]
    clips = cut(path, tmp_path, shots, frames=21, min_frames=21, margin_s=0.04)
    assert len(clips) == 3
    row = row_of(clips[0])
    left, right = (round(row["transform"][side]) for side in ("x0", "x1"))
    with av.open(str(path)) as container:
        sources = [
            cv2.resize(frame.to_ndarray(format="rgb24")[:, left:right], (row["width"], row["height"]))[
                ::3, ::3, 1
            ].astype(int)
            for frame in container.decode(video=0)
        ]
    for clip in clips:
        start_ms = row_of(clip)["start_us"] / 1000
        for number, frame in enumerate(frames_of(clip)):
            likeness = [np.abs(frame[::3, ::3, 1] - source).mean() for source in sources]
            assert int(np.argmin(likeness)) == nearest(steady(30, fps=10), start_ms + 40 * number)
