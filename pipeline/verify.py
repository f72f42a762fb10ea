"""Are the shards what the manifest says? Hashes, members, decodability, keys, splits."""

import hashlib
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import av
import pyarrow.parquet as pq
import soundfile
from PIL import Image, UnidentifiedImageError

from pipeline.backends.pyav_decode import clip_frames
from pipeline.stage import Unmeasurable
from pipeline.store.files import Files
from schemas.errors import UserError
from schemas.manifest import Manifest, Shard, parse_manifest, shards_fingerprint
from schemas.sample import KEY_PATTERN, SAMPLE_RATE, SAMPLE_SCHEMA, SAMPLES_PER_FRAME, VOCALS, member_suffixes


def load_manifest(address: str) -> tuple[Files, Manifest]:
    """The manifest of a run folder, or at a path. Raises UserError where there is none."""
    path = address.rstrip("/")
    candidates = [(f"{path}/shards", "manifest.json"), (path, "manifest.json")]
    if path.endswith(".json"):
        folder, _, name = path.rpartition("/")
        candidates = [(folder or ".", name)]
    for folder, name in candidates:
        files = Files(folder)
        if files.exists(name):
            return files, parse_manifest(files.read(name).decode(), where=f"{folder}/{name}")
    raise UserError(f"there is no manifest at {address}; run 'humo pack' first, or name a manifest.json")


def verify(files: Files, manifest: Manifest) -> Iterator[str]:
    """Every problem, as a line. None means that the shards are what the manifest says."""
    if manifest.fingerprint != shards_fingerprint(manifest.shards):
        yield "the manifest's fingerprint is not that of its shards"
    keys: dict[str, str] = {}
    splits: dict[str, set[str]] = defaultdict(set)
    index = _index(files)
    samples = 0
    for shard in manifest.shards:
        try:
            data = files.read(shard.url)
        except FileNotFoundError:
            yield f"{shard.url}: missing"
            continue
        if hashlib.sha256(data).hexdigest() != shard.sha256:
            yield f"{shard.url}: the bytes are not those that the manifest names"
            continue
        found = 0
        for key, start, members, problem in _samples(shard, data):
            if problem:
                yield f"{shard.url}: {problem}"
                continue
            found += 1
            if key in keys:
                yield f"{shard.url}: the key {key} stands in {keys[key]} already"
            keys[key] = shard.url
            yield from (f"{shard.url}: {key}: {line}" for line in _check(key, members, shard))
            for identity in _identities(members):
                splits[identity].add(shard.split)
            row = index.get(key)
            if row is None or (row["shard"], row["offset"]) != (shard.url, start):
                yield f"{shard.url}: {key}: the index does not say where it lies"
        samples += found
        if found != shard.samples:
            yield f"{shard.url}: {found} samples where the manifest says {shard.samples}"
    if samples != manifest.counts.samples:
        yield f"{samples} samples where the manifest counts {manifest.counts.samples}"
    for identity, found_in in sorted(splits.items()):
        if len(found_in) > 1:
            yield f"the identity {identity} is in two splits"


def _index(files: Files) -> dict[str, dict[str, Any]]:
    if not files.exists("index.parquet"):
        return {}
    table = pq.read_table(io.BytesIO(files.read("index.parquet")))
    return {row["key"]: row for row in table.to_pylist()}


def _samples(shard: Shard, data: bytes) -> Iterator[tuple[str, int, dict[str, bytes], str | None]]:
    """(key, offset, members by suffix, problem) for each sample of a tar."""
    key = ""
    start = 0
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for info in tar:
                name, dot, suffix = info.name.partition(".")
                if not info.isreg() or not dot or not KEY_PATTERN.match(name):
                    yield "", 0, {}, f"{info.name!r} is no member of a sample"
                    continue
                if name != key and key:
                    yield key, start, members, None
                if name != key:
                    key, start, members = name, info.offset, {}
                file = tar.extractfile(info)
                members[f".{suffix}"] = file.read() if file else b""
    except tarfile.TarError as error:
        yield "", 0, {}, f"not a whole tar: {error}"
    if key:
        yield key, start, members, None


def _check(key: str, members: dict[str, bytes], shard: Shard) -> Iterator[str]:
    references = sum(suffix.startswith(".ref") for suffix in members)
    if list(members) != member_suffixes(shard.tier, references, vocals=VOCALS in members):
        yield f"the members are {sorted(members)}"
        return
    try:
        record = json.loads(members[".json"])
        faces = json.loads(members[".faces.json"])
        frames = sum(1 for _ in clip_frames(members[".mp4"]))
        for number in range(references):
            with Image.open(io.BytesIO(members[f".ref{number}.png"])) as image:
                image.load()
    except (ValueError, OSError, UnidentifiedImageError, Unmeasurable, av.error.FFmpegError) as error:
        yield f"cannot be decoded: {error}"
        return
    if record.get("schema") != SAMPLE_SCHEMA or record.get("key") != key or record.get("tier") != shard.tier:
        yield "the record is not this sample's"
    if frames != record["clip"]["frames"] or frames % 4 != 1:
        yield f"{frames} frames where the record says {record['clip']['frames']}"
    if len(faces.get("frames", [])) != frames:
        yield f"face boxes for {len(faces.get('frames', []))} of {frames} frames"
    if not members[".txt"].decode().strip():
        yield "the caption is empty"
    if shard.tier == "sync":
        for suffix in (".flac", VOCALS):
            if suffix in members:
                yield from _check_sound(members[suffix], frames)


def _check_sound(data: bytes, frames: int) -> Iterator[str]:
    try:
        info = soundfile.info(io.BytesIO(data))
    except soundfile.LibsndfileError as error:
        yield f"the sound cannot be decoded: {error}"
        return
    if (info.samplerate, info.channels, info.frames) != (SAMPLE_RATE, 1, frames * SAMPLES_PER_FRAME):
        yield f"the sound has {info.frames} samples at {info.samplerate} Hz for {frames} frames"


def _identities(members: dict[str, bytes]) -> set[str]:
    try:
        return set(json.loads(members[".json"])["identities"].values())
    except (ValueError, KeyError):
        return set()
