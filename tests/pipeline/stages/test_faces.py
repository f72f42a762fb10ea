"""The faces stage on portraits moved about, and on the real clips."""

import hashlib
import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipeline.backends.face_detector import overlap
from pipeline.backends.pyav_decode import decode_clip
from pipeline.stage import Measured
from pipeline.stages.faces import VERSION, FacesConfig, FacesStage
from schemas.errors import UserError
from schemas.tables import TABLES
from tests.pipeline.face_pictures import (
    FACE_IN_COLLINS,
    HOPPER_FACE,
    Picture,
    background,
    clip,
    collins,
    fractions,
    gray,
    hopper,
    pasted,
    shown,
)

FRAMES = 97


def _measured(frames: Sequence[Picture], **options: Any) -> Measured:
    meter = FacesStage(FacesConfig(**options)).start(clip(frames))
    for index, frame in enumerate(frames):
        meter.add(index, shown(frame))
    return meter.finish()


def _boxes(measured: Measured) -> list[list[dict[str, Any]]]:
    frames: list[list[dict[str, Any]]] = json.loads(measured.media[0].data)["frames"]
    return frames


def _place(frame: int) -> tuple[float, float, float]:
    """x, y and scale of the portrait in a frame: it crosses the picture and comes closer."""
    return 8 + 0.9 * frame, 30 - 0.2 * frame, 0.62 + 0.001 * frame


@cache
def _crossing() -> tuple[Picture, ...]:
    behind = background(256, 320)
    return tuple(pasted(behind, *_place(frame), collins()) for frame in range(FRAMES))


@cache
def _crossing_measured() -> Measured:
    return _measured(_crossing())


def test_one_face_crossing_the_picture_is_one_track_with_a_box_in_every_frame() -> None:
    measured = _crossing_measured()
    (faces,), (track,) = measured.rows["faces"], measured.rows["tracks"]
    assert (faces["subjects"], track["track"], track["first_frame"], track["last_frame"]) == (1, 0, 0, 96)
    frames = _boxes(measured)
    assert len(frames) == FRAMES
    for frame, boxes in enumerate(frames):
        x, y, scale = _place(frame)
        x0, y0, x1, y1 = (shift + scale * value for shift, value in zip((x, y, x, y), FACE_IN_COLLINS, strict=True))
        (box,) = boxes
        assert overlap(tuple(box["box"]), fractions((x0, y0, x1, y1), _crossing()[0])) > 0.7
        middle = ((box["box"][0] + box["box"][2]) / 2 * 320, (box["box"][1] + box["box"][3]) / 2 * 256)
        assert math.dist(middle, ((x0 + x1) / 2, (y0 + y1) / 2)) < 0.1 * (y1 - y0)
        assert all(value == round(value, 5) for value in box["box"])
    looked = {frame for frame, boxes in enumerate(frames) if not boxes[0]["interpolated"]}
    assert looked == set(range(0, FRAMES, 4))


def test_rows_fit_the_tables_and_say_where_the_media_are() -> None:
    measured = _crossing_measured()
    (faces,), (track,) = measured.rows["faces"], measured.rows["tracks"]
    for table, row in (("faces", faces), ("tracks", track)):
        assert set(row) == {field.name for field in [TABLES[table].schema.field("id"), *TABLES[table].columns]}
        pa.array([row], pa.struct([(name, TABLES[table].schema.field(name).type) for name in row]))
    boxes, reference = measured.media
    assert (boxes.kind, boxes.suffix, reference.kind, reference.suffix) == ("faces", ".json", "references", ".png")
    assert faces["boxes_sha256"] == hashlib.sha256(boxes.data).hexdigest()
    assert track["reference_sha256"] == hashlib.sha256(reference.data).hexdigest()
    assert (track["id"], track["clip_id"], track["source_id"], track["shot_id"]) == ("s_0_1_t0", "s_0_1", "s", "s_0")


def test_size_luma_and_description() -> None:
    (track,) = _crossing_measured().rows["tracks"]
    tall = (FACE_IN_COLLINS[3] - FACE_IN_COLLINS[1]) * 0.668 / 256
    assert track["size"] == pytest.approx(tall, rel=0.1)
    assert _crossing_measured().rows["faces"][0]["largest"] == track["size"]
    x0, y0, x1, y1 = FACE_IN_COLLINS
    assert track["luma"] == pytest.approx(gray(collins())[y0:y1, x0:x1].mean() / 255, abs=0.05)
    assert track["yaw_deg"] is None
    assert np.linalg.norm(track["embedding"]) == pytest.approx(1, abs=1e-5)
    assert track["detected"] == 1


def test_the_reference_is_cut_from_the_frame_as_it_is() -> None:
    measured = _crossing_measured()
    (track,) = measured.rows["tracks"]
    x0, y0, x1, y1 = (
        round(value * side) for value, side in zip(track["reference_box"], (320, 256, 320, 256), strict=True)
    )
    reference = cv2.imdecode(np.frombuffer(measured.media[1].data, np.uint8), cv2.IMREAD_COLOR)
    frame = _crossing()[track["reference_frame"]]
    np.testing.assert_array_equal(cv2.cvtColor(reference, cv2.COLOR_BGR2RGB), frame[y0:y1, x0:x1])
    face = next(box for box in _boxes(measured)[track["reference_frame"]])["box"]
    assert x0 / 320 < face[0]
    assert face[2] < x1 / 320
    assert y0 / 256 <= face[1]
    assert face[3] < y1 / 256


def test_a_face_hidden_for_a_while_stays_one_track() -> None:
    behind = background(256, 320)
    frames = [behind if 40 <= frame < 56 else picture for frame, picture in enumerate(_crossing())]
    measured = _measured(frames)
    (track,) = measured.rows["tracks"]
    assert (track["first_frame"], track["last_frame"]) == (0, 96)
    assert track["detected"] == pytest.approx(21 / 25)
    boxes = _boxes(measured)
    assert all(boxes[frame][0]["interpolated"] for frame in range(37, 56))
    x, y, scale = _place(48)
    moved = [shift + scale * value for shift, value in zip((x, y, x, y), FACE_IN_COLLINS, strict=True)]
    assert overlap(tuple(boxes[48][0]["box"]), fractions(moved, behind)) > 0.7


def test_the_best_reference_is_the_sharp_one() -> None:
    soft = [np.asarray(cv2.GaussianBlur(frame, (0, 0), 2.5), dtype=np.uint8) for frame in _crossing()]
    frames = [frame if 60 <= index < 70 else soft[index] for index, frame in enumerate(_crossing())]
    (track,) = _measured(frames).rows["tracks"]
    assert 60 <= track["reference_frame"] < 70


def test_two_people_the_larger_first() -> None:
    behind = background(320, 512)
    frames = [
        pasted(pasted(behind, 20 + 0.2 * f, 60, 0.5, collins()), 250, 20 + 0.1 * f, 0.42, hopper()) for f in range(49)
    ]
    measured = _measured(frames)
    assert measured.rows["faces"][0]["subjects"] == 2
    first, second = measured.rows["tracks"]
    assert first["size"] > second["size"]
    truth = [250 + 0.42 * HOPPER_FACE[0], 20 + 0.42 * HOPPER_FACE[1], 250 + 0.42 * HOPPER_FACE[2], 20 + 0.42 * 336]
    of_first = next(box["box"] for box in _boxes(measured)[0] if box["track"] == 0)
    assert overlap(tuple(of_first), fractions(truth, behind)) > 0.6
    assert float(np.dot(first["embedding"], second["embedding"])) < 0.8


@pytest.mark.parametrize("picture", [background(128, 160), np.zeros((128, 160, 3), dtype=np.uint8)])
def test_nobody_is_a_result(picture: Picture) -> None:
    measured = _measured([picture] * 9)
    assert measured.rows["faces"][0]["subjects"] == 0
    assert measured.rows["faces"][0]["largest"] == 0
    assert measured.rows["tracks"] == []
    assert _boxes(measured) == [[]] * 9


def test_equal_clips_give_equal_bytes() -> None:
    one, other = (_measured(_crossing()[:25]) for _ in range(2))
    assert one.rows == other.rows
    assert [medium.data for medium in one.media] == [medium.data for medium in other.media]


def test_what_cannot_run_stops_before_the_run(tmp_path: Path) -> None:
    for options, said in (
        ({"detector": "yunet"}, "set faces.yunet_model"),
        ({"detector": "yunet", "yunet_model": tmp_path / "none.onnx"}, "there is no file"),
        ({"descriptor": "sface", "sface_model": tmp_path / "none.onnx"}, "faces.detector=yunet"),
        ({"look_every": 5}, "multiple of faces.look_every"),
    ):
        with pytest.raises(UserError, match=said):
            FacesStage(FacesConfig(**options)).check()
    stage = FacesStage(FacesConfig())
    stage.check()
    assert stage.backend == f"haar+classical(weak)/{VERSION}"


def _clip_frames(path: Path, count: int, longest: int = 480) -> list[Picture]:
    frames = []
    for index, frame in decode_clip(path):
        if index == count:
            break
        scale = min(1.0, longest / max(frame.shape))
        frames.append(np.asarray(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8))
    return frames


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("LivePortrait_d18", 0.68),
        ("LivePortrait_d20", 0.54),
        ("LivePortrait_s18", 0.44),
        ("SadTalker_art_0__japanese", 0.78),
        ("SadTalker_still1", 0.27),
        ("video-retalking_1", 0.40),
        ("video-retalking_2", 0.48),
        ("HuMo_text_audio_6", 0.46),
    ],
)
def test_talking_heads_have_one_track_from_end_to_end(footage: Path, name: str, size: float) -> None:
    measured = _measured(_clip_frames(footage / "video" / f"{name}.mp4", 49))
    (track,) = measured.rows["tracks"]
    assert (track["first_frame"], track["last_frame"]) == (0, 48)
    assert track["detected"] > 0.9
    assert track["size"] == pytest.approx(size, rel=0.12)
    assert sum(not math.isnan(value) for value in track["mouth"]) > 40


@pytest.mark.parametrize("name", ["torchcodec_nasa_13013", "PySceneDetect_testvideo", "PySceneDetect_counter"])
def test_clips_without_faces_have_no_tracks(footage: Path, name: str) -> None:
    measured = _measured(_clip_frames(footage / "video" / f"{name}.mp4", 97))
    assert measured.rows["faces"][0]["subjects"] == 0
