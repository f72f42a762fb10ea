"""Faces: who is seen in a clip, where in every frame, and the best picture of each."""

import hashlib
import json
import math
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from statistics import median

from pipeline.backends.classical_descriptor import ClassicalDescriptor
from pipeline.backends.face_descriptor import FaceDescriptor
from pipeline.backends.face_detector import FaceDetector
from pipeline.backends.face_follower import FaceFollower, FollowedFace, Pace
from pipeline.backends.face_record import FaceRecord, MouthMeter
from pipeline.backends.face_tracks import Track, TrackedBox, boxes_of
from pipeline.backends.haar import HaarDetector
from pipeline.backends.insightface_pack import ArcfaceDescriptor, InsightfaceDetector
from pipeline.backends.mouth_motion import MouthMotion
from pipeline.backends.sface import SfaceDescriptor
from pipeline.backends.yunet import YunetDetector
from pipeline.stage import Clip, ClipFrame, FrameMeter, Measured, Media, Row
from pipeline.stages.options.faces import VERSION, FacesConfig
from pipeline.weights.locate import Weights
from schemas.errors import UserError


class FacesStage:
    """Looks at a clip's frames one by one. Rows of `faces` and `tracks`, media `faces` and `references`."""

    name = "faces"

    def __init__(
        self,
        config: FacesConfig,
        *,
        mouth: Callable[[], MouthMeter] = MouthMotion,
        weights: Weights | None = None,
        device: str = "cpu",
    ) -> None:
        """`mouth` makes what follows the mouth of one track. Models are loaded on first use."""
        self._config = config
        self._mouth = mouth
        self._weights = weights or Weights({})
        self._device = device

    def check(self) -> None:
        """Load the models. Raises UserError that names what is missing or does not fit together."""
        config = self._config
        if config.scan_every % config.look_every:
            raise UserError(
                f"faces.scan_every={config.scan_every} must be a multiple of faces.look_every={config.look_every}"
            )
        if config.descriptor != "classical" and config.detector == "haar":
            raise UserError(
                f"faces.descriptor={config.descriptor} needs landmarks: set faces.detector=yunet and "
                "faces.yunet_model, or faces.detector=insightface"
            )
        assert self.detector.name
        assert self.descriptor.name

    @property
    def backend(self) -> str:
        """Detector, descriptor and version, such as `haar+classical(weak)/1`."""
        weak = "(weak)" if self._config.descriptor == "classical" else ""
        return f"{self.detector.name}+{self.descriptor.name}{weak}/{VERSION}"

    @cached_property
    def detector(self) -> FaceDetector:
        """The configured detector. Raises UserError where its model cannot be loaded."""
        config = self._config
        if config.detector == "haar":
            return HaarDetector(scan_pixels=config.scan_pixels, smallest=config.smallest)
        if config.detector == "insightface":
            found = self._weights.find("insightface-buffalo-l")
            return InsightfaceDetector(
                found.folder, version=found.version, device=self._device, smallest=config.smallest
            )
        model = _model(config.yunet_model, "faces.detector=yunet", "faces.yunet_model")
        return YunetDetector(model, scan_pixels=config.scan_pixels, smallest=config.smallest)

    @cached_property
    def descriptor(self) -> FaceDescriptor:
        """The configured descriptor. Raises UserError where its model cannot be loaded."""
        if self._config.descriptor == "classical":
            return ClassicalDescriptor()
        if self._config.descriptor == "arcface":
            found = self._weights.find("insightface-buffalo-l")
            return ArcfaceDescriptor(found.folder, version=found.version, device=self._device)
        return SfaceDescriptor(_model(self._config.sface_model, "faces.descriptor=sface", "faces.sface_model"))

    def start(self, clip: Clip) -> FrameMeter:
        """Begin a clip."""
        config = self._config
        make_record = partial(
            FaceRecord, descriptor=self.descriptor, mouth=self._mouth, describe_every=config.describe_every
        )
        pace = Pace(look_every=config.look_every, scan_every=config.scan_every, longest_gap=config.longest_gap)
        return FacesMeter(clip, config, FaceFollower(self.detector, pace, make_record))


class FacesMeter:
    """Follows the faces of one clip."""

    def __init__(self, clip: Clip, config: FacesConfig, follower: FaceFollower) -> None:
        self._clip = clip
        self._config = config
        self._follower = follower

    def add(self, index: int, frame: ClipFrame) -> None:
        """See FrameMeter."""
        self._follower.add(index, frame, last=index == self._clip.frames - 1)

    def finish(self) -> Measured:
        """A row of `faces`, and one of `tracks` for each face that persists, the most prominent first."""
        kept = sorted(
            (face for face in self._follower.faces() if self._persists(face)),
            key=lambda face: (-_prominence(face.track), face.track.number),
        )
        placed = [boxes_of(face.track, look_every=self._config.look_every) for face in kept]
        boxes = Media(kind="faces", data=_boxes_json(placed, self._clip.frames), suffix=".json")
        references = [Media(kind="references", data=face.record.reference_png(), suffix=".png") for face in kept]
        row = {
            "id": self._clip.id,
            "subjects": len(kept),
            "largest": max((_size(face.track) for face in kept), default=0.0),
            "boxes_sha256": _sha256(boxes),
        }
        tracks = [
            self._row(number, face, reference)
            for number, (face, reference) in enumerate(zip(kept, references, strict=True))
        ]
        return Measured(rows={"faces": [row], "tracks": tracks}, media=[boxes, *references])

    def _persists(self, face: FollowedFace) -> bool:
        fewest = min(self._config.fewest_looks, len(self._follower.looks))
        return len(face.track.observed) >= fewest and face.detected >= self._config.detected_share

    def _row(self, number: int, face: FollowedFace, reference: Media) -> Row:
        track, record = face.track, face.record
        return {
            "id": f"{self._clip.id}_t{number}",
            "clip_id": self._clip.id,
            "source_id": self._clip.source_id,
            "shot_id": self._clip.shot_id,
            "track": number,
            "first_frame": track.first,
            "last_frame": track.last,
            "detected": face.detected,
            "size": _size(track),
            "sharpness": record.sharpness,
            "luma": record.luma,
            "yaw_deg": record.yaw_deg,
            "embedding": record.embedding.tolist(),
            "mouth": [record.mouth.get(index, math.nan) for index in range(self._clip.frames)],
            "reference_frame": record.reference_frame,
            "reference_box": list(record.reference_box),
            "reference_face": list(record.reference_face),
            "reference_sha256": _sha256(reference),
        }


def _size(track: Track) -> float:
    """Median face height over the frame's height."""
    return median(face.box[3] - face.box[1] for face in track.observed.values())


def _prominence(track: Track) -> float:
    return _size(track) * (track.last - track.first + 1)


def _boxes_json(placed: list[dict[int, TrackedBox]], frames: int) -> bytes:
    """Per frame, the boxes in it: clamped to the frame, in fractions of it, with track number and origin."""
    listed = [
        [
            {
                "box": [round(min(max(value, 0.0), 1.0), 5) for value in boxes[index].box],
                "track": number,
                "interpolated": boxes[index].interpolated,
            }
            for number, boxes in enumerate(placed)
            if index in boxes
        ]
        for index in range(frames)
    ]
    return json.dumps({"frames": listed}, separators=(",", ":")).encode()


def _sha256(media: Media) -> str:
    return hashlib.sha256(media.data).hexdigest()


def _model(path: Path | None, wanted_by: str, option: str) -> Path:
    if path is None:
        raise UserError(f"{wanted_by} needs a model file: set {option}")
    if not path.is_file():
        raise UserError(f"{option}: there is no file {path}")
    return path
