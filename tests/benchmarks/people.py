"""Faces and identities on real pictures: `python tests/benchmarks/people.py --sheets sheets`.

Footage and YuNet's file are found by HUMO_FOOTAGE and HUMO_WEIGHTS. Printed are, for each detector, how many of the
faces counted by eye it finds in the stills and what else it takes for one; for each detector with each descriptor that
can run, how well it tells people apart in the stills (`identities.json`; crops and resized copies of one picture are
left out); and how much of each clip the longest track covers. `--sheets`: folder for pictures with boxes drawn in.
"""

import argparse
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.backends.classical_descriptor import ClassicalDescriptor
from pipeline.backends.face_descriptor import FaceDescriptor
from pipeline.backends.face_detector import Detection, FaceDetector, overlap
from pipeline.backends.haar import HaarDetector
from pipeline.backends.yunet import YunetDetector
from pipeline.config import CurateConfig
from pipeline.stage import Clip, ClipFrame
from pipeline.stages.faces import FacesConfig, FacesStage
from pipeline.stages.identities import IdentitiesConfig, cluster

Picture = NDArray[np.uint8]
COUNTED = {
    "knn_test_kit_with_rose": 2, "knn_test_obama_and_biden": 2, "two_people": 2, "multiface": 6,
    "multiface_detected": 6, "facenet-pytorch-banner": 0,
}  # fmt: skip
"""Faces by eye; all other stills show one."""
CUT_OFF = ("obama_partial_face", "obama_partial_face2", "test_images_aligned_angelina_jolie_1")
ONE_PICTURE = ({"obama-720p", "knn_train_obama_obama"}, {"alex-lacamoire", "knn_train_alex_lacamoire_img1"})
"""Stills that show one photograph at two sizes, by eye; so do aligned pictures and what they were cut from."""
CLIPS = ("LivePortrait_d18.mp4", "LivePortrait_d20.mp4", "LivePortrait_s18.mp4", "SadTalker_still1.mp4",
         "video-retalking_1.mp4", "video-retalking_2.mp4", "HuMo_text_audio_6.mp4", "PySceneDetect_testvideo.mp4",
         "face_recognition_short_hamilton_clip.mp4", "facenet-pytorch_video.mp4")  # fmt: skip
SHEET_FRAMES, SHEET_HEIGHT = 6, 200
COLOURS = ((60, 220, 60), (250, 160, 40), (80, 160, 255), (240, 80, 200), (250, 240, 60))


def gray(picture: Picture) -> Picture:
    """The grey version of an RGB picture."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def read(path: Path) -> Picture:
    """A still, RGB."""
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def sure(detector: FaceDetector, picture: Picture) -> list[Detection]:
    """The faces that begin a track."""
    return [face for face in detector.find(picture, gray(picture)) if face.certain]


def show_stills(detectors: dict[str, FaceDetector], folder: Path, sheets: Path | None) -> None:
    """Recall and false alarms. Where a face is, YuNet says, in pictures where it finds as many as there are by eye."""
    judge = detectors.get("yunet")
    found: dict[str, list[int]] = {name: [0, 0, 0] for name in detectors}
    tiles: dict[str, list[Picture]] = defaultdict(list)
    for path in sorted(folder.rglob("*.*")):
        if path.stem in CUT_OFF:
            continue
        picture, there = read(path), COUNTED.get(path.stem, 1)
        boxes = {name: [face.box for face in sure(detector, picture)] for name, detector in detectors.items()}
        true = boxes["yunet"] if judge and len(boxes["yunet"]) == there else None
        for name, seen in boxes.items():
            right = min(len(seen), there)
            if true is not None:
                right = sum(any(overlap(box, other) > 0.3 for other in seen) for box in true)
            found[name][0] += there
            found[name][1] += right
            found[name][2] += len(seen) - right
            tiles[name].append(drawn(picture, seen))
    for name, (there, right, false) in found.items():
        print(f"stills  {name:8} faces {there}, found {right} (recall {right / there:.3f}), false alarms {false}")
        if sheets:
            write_sheet(sheets / f"stills-{name}.jpg", tiles[name], columns=8)


def drawn(
    picture: Picture, boxes: list[tuple[float, float, float, float]], numbers: list[int] | None = None
) -> Picture:
    """A small copy with the boxes drawn in."""
    height, width = picture.shape[:2]
    small = cv2.resize(
        picture, (max(round(width * SHEET_HEIGHT / height), 1), SHEET_HEIGHT), interpolation=cv2.INTER_AREA
    )
    tall, wide = small.shape[:2]
    for place, box in enumerate(boxes):
        number = numbers[place] if numbers else place
        corners = [(round(box[side] * wide), round(box[side + 1] * tall)) for side in (0, 2)]
        cv2.rectangle(small, corners[0], corners[1], COLOURS[number % len(COLOURS)], 2)
        cv2.putText(small, str(number), (corners[0][0], max(corners[0][1] - 3, 10)), 0, 0.4, (255, 255, 255), 1)
    return np.asarray(small, dtype=np.uint8)


def write_sheet(path: Path, tiles: list[Picture], *, columns: int) -> None:
    """The pictures in rows, each filled up to the widest row."""
    rows = [np.hstack(tiles[first : first + columns]) for first in range(0, len(tiles), columns)]
    wide = max(row.shape[1] for row in rows)
    filled = [cv2.copyMakeBorder(row, 0, 4, 0, wide - row.shape[1], cv2.BORDER_CONSTANT) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(filled), cv2.COLOR_RGB2BGR))


def show_clips(config: FacesConfig, folder: Path, sheets: Path | None) -> None:
    """How much of the first 97 pictures the longest track covers, and a sheet of them."""
    stage = FacesStage(config)
    for name in CLIPS:
        frames = list(_frames(folder / name))
        height, width = frames[0].shape[:2]
        facts = {"source_id": "", "shot_id": "", "start_us": 0, "end_us": 0, "media_sha256": "", "audio_sha256": None}
        meter = stage.start(Clip(id=name, frames=len(frames), width=width, height=height, **facts))
        for index, frame in enumerate(frames):
            meter.add(index, ClipFrame(gray(frame), frame.view))
        made = meter.finish()
        longest = max((row["last_frame"] - row["first_frame"] + 1 for row in made.rows["tracks"]), default=0)
        people = made.rows["faces"][0]["subjects"]
        print(f"clips   {config.detector:8} {name:44} tracks {people}, the longest covers {longest / len(frames):.2f}")
        if sheets:
            placed = json.loads(made.media[0].data)["frames"]
            tiles = []
            for index in np.linspace(0, len(frames) - 1, SHEET_FRAMES).astype(int):
                boxes = [tuple(each["box"]) for each in placed[index]]
                tiles.append(drawn(frames[index], boxes, [each["track"] for each in placed[index]]))
            write_sheet(sheets / f"tracks-{config.detector}-{Path(name).stem}.jpg", tiles, columns=SHEET_FRAMES)


def _frames(path: Path) -> Iterator[Picture]:
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == 97:
                return
            scale = min(1.0, 480 / min(frame.width, frame.height))
            small = frame.reformat(width=round(frame.width * scale), height=round(frame.height * scale), format="rgb24")
            yield np.asarray(small.to_ndarray(), dtype=np.uint8)


def show_identities(name: str, detector: FaceDetector, descriptor: FaceDescriptor, kind: str, footage: Path) -> None:
    """Verification over all pairs of different photographs, and clustering at the configured bound."""
    people = json.loads((footage / "identities.json").read_text())["people"]
    rows, owners, missed = [], [], 0
    for person, files in people.items():
        for file in files:
            picture = read(footage / file)
            faces = sure(detector, picture)
            if not faces:
                missed += 1
                continue
            face = max(faces, key=lambda each: each.box[3] - each.box[1])
            rows.append((Path(file).stem, descriptor.describe(picture, gray(picture), face)))
            owners.append(person)
    pairs = [(i, j) for i, j in combinations(range(len(rows)), 2) if not _one_picture(rows[i][0], rows[j][0])]
    alike = np.array([float(rows[i][1] @ rows[j][1]) for i, j in pairs])
    same = np.array([owners[i] == owners[j] for i, j in pairs])
    order = np.sort(alike)
    balanced = [
        (float(((alike >= t) & same).sum() / same.sum() + ((alike < t) & ~same).sum() / (~same).sum()) / 2, t)
        for t in order
    ]
    best, at = max(balanced)
    area = float((alike[same][:, None] > alike[~same][None]).mean())
    bound = IdentitiesConfig().threshold(kind)
    print(
        f"people  {name:24} {len(rows)} faces ({missed} missed), {int(same.sum())} pairs of one person, "
        f"{int((~same).sum())} of two; ROC area {area:.3f}, best balanced accuracy {best:.3f} at {at:.3f}; "
        f"at {bound}: recall {float((alike[same] >= bound).mean()):.3f}, "
        f"false {float((alike[~same] >= bound).mean()):.4f}"
    )
    for least in sorted({bound, round(float(at), 3)}):
        identity = clustered(rows, kind, least)
        joined = np.array([identity[i] == identity[j] for i, j in pairs])
        right = int((joined & same).sum())
        print(
            f"        clustering at {least}: {len(set(identity))} identities of {len(set(owners))} people; pairwise "
            f"precision {right / max(int(joined.sum()), 1):.3f}, recall {right / int(same.sum()):.3f}"
        )


def clustered(rows: list[tuple[str, NDArray[np.float32]]], kind: str, least: float) -> list[str]:
    """The identity of each, as the stage joins them, each picture being a clip of its own."""
    table = pa.table(
        {
            "id": [f"{place:03}_{name}_t0" for place, (name, _) in enumerate(rows)],
            "clip_id": [f"{place:03}_{name}" for place, (name, _) in enumerate(rows)],
            "track": [0] * len(rows),
            "first_frame": [0] * len(rows),
            "last_frame": [0] * len(rows),
            "embedding": pa.array([vector.tolist() for _, vector in rows], pa.list_(pa.float32())),
        }
    )
    config = IdentitiesConfig(**{kind: least})
    with tempfile.TemporaryDirectory() as scratch:
        pieces = cluster([table], descriptor=kind, folder=Path(scratch), config=config)
        return [row["identity"] for piece in pieces for row in piece.rows]


def _one_picture(one: str, other: str) -> bool:
    cropped = {one.replace("_aligned", ""), other.replace("_aligned", "")}
    return len(cropped) == 1 or any({one, other} <= same for same in ONE_PICTURE)


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheets", type=Path, default=None)
    parser.add_argument("--no-clips", action="store_true")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    footage = Path(os.environ.get("HUMO_FOOTAGE", "../shared/footage"))
    model = Path(os.environ.get("HUMO_WEIGHTS", "../shared/weights")) / "yunet_n_640_640.onnx"
    faces = CurateConfig().faces
    detectors: dict[str, FaceDetector] = {"haar": HaarDetector(scan_pixels=faces.scan_pixels, smallest=faces.smallest)}
    if model.is_file():
        detectors["yunet"] = YunetDetector(model, scan_pixels=faces.scan_pixels, smallest=faces.smallest)
    show_stills(detectors, footage / "stills", asked.sheets)
    for name, detector in detectors.items():
        show_identities(f"{name} + classical", detector, ClassicalDescriptor(), "classical", footage)
    if not asked.no_clips:
        for name in detectors:
            config = FacesConfig(detector=name, yunet_model=model if name == "yunet" else None)  # type: ignore[arg-type]
            show_clips(config, footage / "video", asked.sheets)


if __name__ == "__main__":
    main()
