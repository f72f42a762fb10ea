from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.stage import Source, Unmeasurable
from pipeline.stages.shots import ShotsConfig, detect_shots
from pipeline.store.parts import to_arrow
from tests.pipeline.concatenations import ONE_SHOT, make_film, read_pictures, score_film
from tests.pipeline.made_videos import Picture, clicks, steady, texture, write_video


def rows_of(path: Path, config: ShotsConfig | None = None) -> tuple[dict[str, object], list[tuple[int, int, str]]]:
    """The source's row, and (start, end, boundary) of its shots."""
    measured = detect_shots(Source(id="0" * 16, path=path), config or ShotsConfig())
    for table, rows in measured.rows.items():
        to_arrow(table, [{**row, "status": "ok", "backend": "b", "fingerprint": "f"} for row in rows])
    shots = measured.rows["shots"]
    assert [row["id"] for row in shots] == [f"{'0' * 16}_{row['start_us']}_{row['end_us']}" for row in shots]
    (source,) = measured.rows["sources"]
    return source, [(row["start_us"], row["end_us"], row["boundary"]) for row in shots]


def scenes(*lengths: int) -> list[Picture]:
    return [texture(seed) for seed, length in enumerate(lengths) for _ in range(length)]


def test_cuts_of_a_steady_source(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", scenes(20, 13, 30), times_ms=steady(63))
    source, shots = rows_of(path)
    assert shots == [(0, 800_000, "start"), (800_000, 1_320_000, "cut"), (1_320_000, 2_520_000, "cut")]
    assert (source["width"], source["height"], source["has_audio"]) == (320, 192, False)
    assert source["duration_us"] == 2_520_000
    assert source["fps"] == pytest.approx(25)
    assert source["bytes"] == path.stat().st_size


def test_a_variable_rate_is_measured_by_time(tmp_path: Path) -> None:
    steps = np.random.default_rng(3).choice([20, 33, 40, 90], 60)
    times = [0, *np.cumsum(steps).tolist()]
    path = write_video(tmp_path / "a.mkv", scenes(31, 30), times_ms=times)
    source, shots = rows_of(path)
    assert [(start, boundary) for start, _, boundary in shots] == [(0, "start"), (times[31] * 1000, "cut")]
    assert shots[0][1] == shots[1][0]
    assert source["fps"] == pytest.approx(60_000 / times[-1])


def test_times_count_from_where_the_sound_starts(tmp_path: Path) -> None:
    """The picture begins 0.4 s after the sound."""
    path = write_video(tmp_path / "a.mkv", scenes(20, 20), times_ms=steady(40, start_ms=400), sound=clicks(2.0, [1.0]))
    source, shots = rows_of(path)
    assert source["has_audio"] is True
    assert [start for start, _, _ in shots] == [400_000, 1_200_000]
    assert source["duration_us"] == 2_000_000


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_the_size_is_that_of_the_upright_picture(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "a.mp4", scenes(10), times_ms=steady(10), rotation_deg=rotation)
    source, _ = rows_of(path)
    assert (source["width"], source["height"]) == ((320, 192) if rotation == 180 else (192, 320))


def test_pixels_that_are_not_square_widen_the_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", scenes(10), times_ms=steady(10), pixel_aspect=Fraction(4, 3))
    source, _ = rows_of(path)
    assert (source["width"], source["height"]) == (427, 192)


def test_a_gap_ends_a_shot(tmp_path: Path) -> None:
    times = [*steady(20), *steady(20, start_ms=3000)]
    _, shots = rows_of(write_video(tmp_path / "a.mkv", scenes(40), times_ms=times))
    assert shots == [(0, 800_000, "start"), (3_000_000, 3_800_000, "cut")]


def test_a_truncated_file_gives_what_is_there(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", scenes(50, 50), times_ms=steady(100)).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) * 3 // 4])
    source, shots = rows_of(cut)
    assert 2_000_000 < source["duration_us"] < 4_000_000  # type: ignore[operator]
    assert shots[0] == (0, 2_000_000, "start")


def test_damaged_pictures_belong_to_no_shot(tmp_path: Path) -> None:
    """Of ten groups of pictures the fifth is overwritten half-way; from there to its end nothing can be trusted."""
    path = write_video(tmp_path / "a.mkv", scenes(100), times_ms=steady(100), gop=10)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(bytes(data))
    _, shots = rows_of(path)
    covered = sum(end - start for start, end, _ in shots)
    assert len(shots) >= 2
    assert 3_000_000 < covered < 3_950_000
    with pytest.raises(Unmeasurable, match="damaged"):
        rows_of(path, ShotsConfig(damaged=0.0))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a video at all",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '{other}'\n",
    ],
    ids=["empty", "text", "playlist", "concatenation"],
)
def test_what_is_no_video_has_a_reason(tmp_path: Path, content: bytes) -> None:
    """A file that only names another must not make us read that other one."""
    other = write_video(tmp_path / "other.mp4", scenes(10), times_ms=steady(10))
    path = tmp_path / "a.mp4"
    path.write_bytes(content.replace(b"{other}", str(other).encode()))
    with pytest.raises(Unmeasurable, match="cannot be opened"):
        rows_of(path)


def test_an_index_that_was_cut_off_has_a_reason(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mp4", scenes(20), times_ms=steady(20)).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unmeasurable):
        rows_of(path)


def test_a_missing_file_has_a_reason(tmp_path: Path) -> None:
    with pytest.raises(Unmeasurable, match="cannot be opened"):
        rows_of(tmp_path / "none.mp4")


def starts(path: Path, fps: float) -> list[tuple[float, str]]:
    """First pictures of the shots, counted from the source's first, with their boundaries."""
    _, shots = rows_of(path)
    return [((start - shots[0][0]) * fps / 1e6, boundary) for start, _, boundary in shots]


def test_known_cuts_hamilton(footage: Path) -> None:
    found = starts(footage / "video" / "face_recognition_short_hamilton_clip.mp4", 29.97)
    assert [boundary for _, boundary in found] == ["start", "cut", "cut", "cut"]
    assert [at for at, _ in found] == pytest.approx([0, 20, 82, 211], abs=0.1)


def test_known_cuts_nasa(footage: Path) -> None:
    """The change at 127 is a dissolve of 24 pictures: the shot before ends there, the next begins after it."""
    _, shots = rows_of(footage / "video" / "torchcodec_nasa_13013.mp4")
    (_, first_end, _), (second_start, second_end, how), (third_start, _, cut) = shots
    assert abs(first_end / 40_000 - 127) <= 1
    assert 148 <= second_start / 40_000 <= 154
    assert how == "dissolve"
    assert second_end == third_start == 202 * 40_000
    assert cut == "cut"


def test_real_clips_joined_at_random(footage: Path, tmp_path: Path) -> None:
    clips = [read_pictures(footage / "video" / name, limit=100) for name in ONE_SHOT[::2]]
    film = make_film(clips, np.random.default_rng(7), pieces=14, dissolves=0.4)
    cuts, dissolves = score_film(film, tmp_path / "film.mkv", ShotsConfig())
    assert (cuts.found, cuts.right) == (cuts.there, cuts.there)
    assert min(cuts.there, dissolves.there) >= 3
    assert (dissolves.found, dissolves.right) == (dissolves.there, dissolves.there)


def test_one_shot_in_which_a_disc_flashes(footage: Path) -> None:
    _, shots = rows_of(footage / "video" / "Megatron-Energon_sync_test.mkv")
    assert [boundary for _, _, boundary in shots] == ["fade"]


def test_fades_and_cuts_by_way_of_black(footage: Path) -> None:
    """By eye: black 0-29, cut 30, cut to black 180, fades 210-240, 331-360, 394-423, dissolve 526-558, out from 664."""
    found = starts(footage / "video" / "PySceneDetect_testvideo.mp4", 29.97)
    assert [boundary for _, boundary in found] == ["fade", "cut", "fade", "fade", "fade", "dissolve"]
    assert [at + 30 for at, _ in found] == pytest.approx([30, 180, 240, 360, 423, 558], abs=3)


def test_fades_of_plain_tones(footage: Path) -> None:
    """Published: fades at 84 and 167 of 250."""
    _, shots = rows_of(footage / "video" / "PySceneDetect_fades.mp4")
    spans = [(start / 40_000, end / 40_000) for start, end, _ in shots]
    assert len(spans) == 3
    assert spans[0][1] < 84 < spans[1][0]
    assert spans[1][1] < 167 < spans[2][0]


def test_a_damaged_file_has_a_reason(footage: Path) -> None:
    with pytest.raises(Unmeasurable, match="1 packets do not decode .* 19 of 49 pictures"):
        rows_of(footage / "video" / "decord_corrupted.mp4")
