"""Real shards of drawn people whose mouths open with their voice, for tests."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image

from schemas.manifest import Counts, Manifest, Shard, shards_fingerprint
from schemas.sample import INDEX_SCHEMA, SAMPLE_RATE, SAMPLES_PER_FRAME

SKIN = {"ann": (225, 180, 150), "bob": (120, 80, 60), "eve": (180, 130, 100)}
HAIR = {"ann": (200, 160, 60), "bob": (30, 30, 40), "eve": (120, 50, 30)}
PITCH = {"ann": 210.0, "bob": 115.0, "eve": 180.0}


@dataclass(frozen=True)
class Sample:
    """What a test wants in a shard. `edit` may change the members before they are packed."""

    key: str
    person: str = "ann"
    tier: str = "sync"
    split: str = "train"
    frames: int = 21
    size: tuple[int, int] = (96, 128)
    references: int = 1
    """Or 0."""
    edit: Callable[[dict[str, bytes]], dict[str, bytes]] | None = None


def speech(
    frames: int, pitch: float, random: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """A waveform of syllables and how open the mouth is (0 .. 1) in each frame."""
    seconds = np.arange(frames * SAMPLES_PER_FRAME) / SAMPLE_RATE
    envelope = np.zeros_like(seconds)
    start = random.uniform(0, 0.2)
    while start < seconds[-1]:
        width, loud = random.uniform(0.10, 0.22), random.uniform(0.5, 1.0)
        inside = (seconds - start) / width
        envelope += loud * np.where((inside > 0) & (inside < 1), np.sin(np.pi * np.clip(inside, 0, 1)) ** 2, 0)
        start += width + random.choice([random.uniform(0.0, 0.1), random.uniform(0.2, 0.5)])
    voice = sum(np.sin(2 * np.pi * pitch * number * seconds) / number for number in range(1, 12))
    waveform = (0.25 * envelope * voice + 0.002 * random.standard_normal(len(seconds))).astype(np.float32)
    return np.clip(waveform, -1, 1), envelope.reshape(frames, -1).mean(axis=1).clip(0, 1)


def draw_face(
    person: str, size: tuple[int, int], centre: tuple[float, float], radius: float, mouth: float, back
) -> npt.NDArray:
    """A head with hair, eyes and a mouth that is open by `mouth`."""
    image = np.full((*size, 3), back, np.uint8)
    x, y = centre

    def ellipse(dx: float, dy: float, width: float, height: float, colour: tuple[int, int, int]) -> None:
        middle = (round((x + dx * radius) * 16), round((y + dy * radius) * 16))
        axes = (max(1, round(width * radius * 16)), max(1, round(height * radius * 16)))
        cv2.ellipse(image, middle, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, 4)

    ellipse(0, -0.15, 0.85, 1.0, HAIR[person])
    ellipse(0, 0.05, 0.72, 0.92, SKIN[person])
    for side in (-0.3, 0.3):
        ellipse(side, -0.2, 0.14, 0.08, (255, 255, 255))
        ellipse(side, -0.2, 0.06, 0.07, (20, 20, 20))
    ellipse(0, 0.5, 0.3, 0.05 + 0.25 * mouth, (90, 10, 20))
    return image


def members(sample: Sample, seed: int) -> dict[str, bytes]:
    """The files of one sample by extension."""
    random = np.random.default_rng(seed)
    height, width = sample.size
    back = tuple(int(level) for level in random.integers(40, 220, 3))
    waveform, openness = speech(sample.frames, PITCH[sample.person], random)
    radius = height * random.uniform(0.36, 0.44)
    start = np.array([width * random.uniform(0.4, 0.6), height * 0.5])
    drift = random.uniform(-0.04, 0.04, 2) * height / 97
    pictures, faces = [], []
    for frame in range(sample.frames):
        x, y = start + drift * frame
        pictures.append(draw_face(sample.person, sample.size, (x, y), radius, float(openness[frame]), back))
        box = [
            (x - 0.75 * radius) / width,
            (y - 0.9 * radius) / height,
            (x + 0.75 * radius) / width,
            (y + radius) / height,
        ]
        box = [min(max(side, 0.0), 1.0) for side in box]
        faces.append([{"box": box, "track": 0, "identity": sample.person, "speaker": True, "interpolated": False}])
    other = tuple(int(level) for level in random.integers(40, 220, 3))
    portrait = draw_face(sample.person, (120, 100), (50, 60), 45, float(random.uniform(0, 0.5)), other)
    found = {
        "mp4": encode_video(pictures),
        "txt": f"a person talks to the camera before a {'dark' if sum(back) < 390 else 'light'} wall".encode(),
        "ref0.png": encode_png(portrait),
        "faces.json": json.dumps({"frames": faces}).encode(),
        "json": json.dumps({"schema": "humo.sample/1", "tier": sample.tier}).encode(),
    }
    if not sample.references:
        del found["ref0.png"]
    if sample.tier == "sync":
        buffer = io.BytesIO()
        soundfile.write(buffer, waveform, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        found["flac"] = buffer.getvalue()
    return sample.edit(found) if sample.edit else found


def encode_video(pictures: Sequence[npt.NDArray]) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(25), options={"crf": "18", "threads": "1", "preset": "veryfast"}
        )
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def encode_png(picture: npt.NDArray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def write_shards(folder: Path, samples: Sequence[Sample], *, per_shard: int = 4) -> Path:
    """Pack the samples; returns the path of manifest.json."""
    folder.mkdir(parents=True, exist_ok=True)
    shards, rows = [], []
    groups: dict[tuple[str, str], list[tuple[int, Sample]]] = {}
    for seed, sample in enumerate(samples):
        groups.setdefault((sample.split, sample.tier), []).append((seed, sample))
    for (split, tier), group in sorted(groups.items()):
        for start in range(0, len(group), per_shard):
            part = group[start : start + per_shard]
            content, places = pack([(sample.key, members(sample, seed)) for seed, sample in part])
            digest = hashlib.sha256(content).hexdigest()
            url = f"{split}-{tier}-{digest[:16]}.tar"
            (folder / url).write_bytes(content)
            shards.append(Shard(url=url, sha256=digest, bytes=len(content), samples=len(part), split=split, tier=tier))
            for (_, sample), (offset, size) in zip(part, places, strict=True):
                rows.append(
                    {
                        "key": sample.key,
                        "shard": url,
                        "offset": offset,
                        "bytes": size,
                        "split": split,
                        "tier": tier,
                        "references": sample.references,
                        "frames": sample.frames,
                        "height": sample.size[0],
                        "width": sample.size[1],
                        "identities": [sample.person],
                    }
                )
    manifest = Manifest(
        version=1,
        fingerprint=shards_fingerprint(shards),
        counts=Counts(samples=len(samples)),
        shards=shards,
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA), folder / "index.parquet")
    return folder / "manifest.json"


def pack(samples: Sequence[tuple[str, dict[str, bytes]]]) -> tuple[bytes, list[tuple[int, int]]]:
    """A tar and each sample's offset and length in it."""
    buffer = io.BytesIO()
    places = []
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for key, files in samples:
            start = archive.offset
            for extension, data in sorted(files.items()):
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            places.append((start, archive.offset - start))
    return buffer.getvalue(), places
