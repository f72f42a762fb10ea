"""A small run written through the store: real media, made-up measurements. For what only reads committed rows."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image

from pipeline.config import CurateConfig
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.pending import ledger
from pipeline.engine.plan import terms_of
from pipeline.engine.rows import completed
from pipeline.engine.run_file import write_run
from pipeline.engine.set_parts import set_parts
from pipeline.stage import Measured
from pipeline.store.bundles import write_bundle
from pipeline.store.files import Files
from pipeline.store.media import media_path, put_media
from pipeline.store.parts import to_arrow, write_part
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, commit, latest

ABOUT = {"backend": "test/1", "fingerprint": "test", "seconds": 0.1}
FRAMES = 5


@dataclass(kw_only=True)
class FakeClip:
    """What is 'measured' of a clip; everything else is the same for all."""

    source: int
    start_s: int
    person: str = "p_one"
    group: str | None = None
    embedding: list[float] = field(default_factory=lambda: [1.0, 0.0])
    quality: dict[str, Any] = field(default_factory=dict)
    sync: dict[str, Any] = field(default_factory=dict)
    vocals: bytes | None = None
    """A FLAC; None: not separated."""
    similarity: float | None = 0.9
    caption: str | None = "a person who speaks in a room with a lamp"
    made: Measured | None = None
    """What the cutting of a source gave, for its picture and sound."""

    @property
    def source_id(self) -> str:
        return f"{self.source:016x}"

    @property
    def key(self) -> str:
        if self.made is not None:
            return str(self.made.rows["clips"][0]["id"])
        return f"{self.source_id}_{self.start_s * 1_000_000}_{self.start_s * 1_000_000 + FRAMES * 40_000}"


def tiny_video(seed: int) -> bytes:
    """An H.264 file of FRAMES frames at 25 fps, 32 pixels square, no sound."""
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(FRAMES):
            picture = np.full((32, 32, 3), (seed * 37 + number * 5) % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return sink.getvalue()


def write_synthetic_run(folder: Path, clips: list[FakeClip], config: CurateConfig | None = None) -> Files:
    """Commit item and set tables for these clips; decisions and shards are left to the test."""
    files = Files(str(folder))
    config = config or CurateConfig()
    snapshot = latest(files)
    for source in sorted({clip.source_id for clip in clips}):
        rows = _item_rows(files, source, [clip for clip in clips if clip.source_id == source])
        completed_rows = {table: [completed(row, **ABOUT) for row in found] for table, found in rows.items()}
        snapshot = with_source(files, snapshot, source, completed_rows, config)
    for stage, rows_of_set in _set_rows(files, clips).items():
        ((_, path),) = set_parts(stage, Relations(files, snapshot), config).items()
        write_part(files, stage, path, [completed(row, **ABOUT) for row in rows_of_set])
        snapshot = snapshot.with_set({stage: path})
    commit(files, latest(files), snapshot)
    write_run(files, config)
    return files


def with_source(
    files: Files, snapshot: Snapshot, source: str, rows: dict[str, list[dict[str, Any]]], config: CurateConfig
) -> Snapshot:
    """The snapshot with one more source, as the engine commits it: its place, and its rows with the ledger's."""
    tables = {table: to_arrow(table, found) for table, found in rows.items()}
    places = {"locations": tables.pop("locations")} if "locations" in tables else {}
    tables["ledger"] = ledger({source: terms_of(source, snapshot, fingerprints(config))})
    for bundle in (places, tables):
        if bundle:
            snapshot = snapshot.with_bundle(*write_bundle(files, bundle), {})
    return snapshot


def _item_rows(files: Files, source: str, clips: list[FakeClip]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {
        "locations": [
            {"id": source, "source_id": source, "uri": f"/footage/{source}.mp4", "etag": "1", "licence": "cc0"}
        ],
        "sources": [{"id": source, "bytes": 1, "duration_us": 10**8, "width": 32, "height": 32, "fps": 25.0}],
        "shots": [{"id": f"{source}_0_1", "source_id": source, "start_us": 0, "end_us": 10**8, "boundary": "start"}],
    }
    for clip in clips:
        for table, row in _clip_rows(files, clip).items():
            rows.setdefault(table, []).append({"id": clip.key, **row})
    return rows


def _clip_rows(files: Files, clip: FakeClip) -> dict[str, dict[str, Any]]:
    cut = _cut(files, clip)
    boxes = [[{"box": [0.2, 0.2, 0.8, 0.8], "track": 0, "interpolated": False}] for _ in range(cut["frames"])]
    picture = io.BytesIO()
    Image.new("RGB", (24, 24), (clip.start_s * 7 % 256, 50, 90)).save(picture, "PNG")
    strip = io.BytesIO()
    Image.new("RGB", (50, 10), (90, clip.start_s * 7 % 256, 50)).save(strip, "JPEG")
    return {
        "clips": cut,
        "quality": {
            "sharpness": 0.5,
            "luma": 0.5,
            "contrast": 0.2,
            "motion": 0.02,
            "thumbnail_sha256": put_media(files, "thumbnails", strip.getvalue()),
            **clip.quality,
        },
        "faces": {
            "subjects": 1,
            "largest": 0.5,
            "boxes_sha256": put_media(files, "faces", json.dumps({"frames": boxes}).encode()),
        },
        "speech": {"ratio": 0.8, "loudness_lufs": -20.0},
        "vocals": _voice(files, clip.vocals),
        "sync": {"speaker_track": 0, "offset_frames": 0, "confidence": 5.0, "p_value": 0.001, **clip.sync},
        "captions": {"text": clip.caption, "text_short": "a person", "word_count": 10},
        "looks": {"status": "inapplicable", "error": "not measured"},
        "tracks": {
            "id": f"{clip.key}_t0",
            "clip_id": clip.key,
            "source_id": clip.source_id,
            "shot_id": f"{clip.source_id}_0_1",
            "track": 0,
            "size": 0.5,
            "sharpness": 0.5,
            "embedding": clip.embedding,
            "reference_box": [0.0, 0.0, 1.0, 1.0],
            "reference_face": [0.2, 0.2, 0.8, 0.8],
            "reference_sha256": put_media(files, "references", picture.getvalue()),
        },
    }


def _voice(files: Files, flac: bytes | None) -> dict[str, Any]:
    """The row of `vocals`, the voice stored."""
    if flac is None:
        return {"status": "inapplicable", "error": "not separated"}
    return {"vocals_sha256": put_media(files, "vocals", flac), "share": 0.5}


def _cut(files: Files, clip: FakeClip) -> dict[str, Any]:
    """The row of `clips`, its picture and sound stored."""
    if clip.made is not None:
        for medium in clip.made.media:
            put_media(files, medium.kind, medium.data)
        (row,) = clip.made.rows["clips"]
        return row
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(FRAMES * 640, np.float32), 16_000, format="FLAC", subtype="PCM_16")
    start = clip.start_s * 1_000_000
    return {
        "source_id": clip.source_id,
        "shot_id": f"{clip.source_id}_0_1",
        "start_us": start,
        "end_us": start + FRAMES * 40_000,
        "frames": FRAMES,
        "width": 32,
        "height": 32,
        "media_sha256": put_media(files, "clips", tiny_video(clip.source * 100 + clip.start_s)),
        "audio_sha256": put_media(files, "audio", sound.getvalue()),
    }


def _set_rows(files: Files, clips: list[FakeClip]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {"duplicates": [], "identities": [], "candidates": []}
    for clip in clips:
        copies = [one.key for one in clips if clip.group is not None and one.group == clip.group]
        worth = clip.quality.get("sharpness", 0.5)
        group = min(copies, default=clip.key)
        rows["duplicates"].append({"id": clip.key, "group": group, "is_duplicate": False, "worth": worth})
        track = {"id": f"{clip.key}_t0", "clip_id": clip.key, "track": 0}
        rows["identities"].append({**track, "identity": clip.person, "seen": f"what {clip.key} shows"})
        others = [one for one in clips if one.person == clip.person and one.key != clip.key]
        other = min(others, key=lambda one: one.key, default=None)
        if other is not None and clip.similarity is not None:
            picture = io.BytesIO()
            Image.new("RGB", (24, 24), (other.start_s * 7 % 256, 50, 90)).save(picture, "PNG")
            found = {
                "id": f"{clip.key}_t0_c0",
                "rank": 0,
                "reference_clip_id": other.key,
                "reference_track": 0,
                "frame": 2,
                "similarity": clip.similarity,
                "box": [0.0, 0.0, 1.0, 1.0],
                "size": 0.5,
                "sharpness": 0.5,
                "file": media_path("references", put_media(files, "references", picture.getvalue())),
            }
            rows["candidates"].append({**track, **found})
    return rows
