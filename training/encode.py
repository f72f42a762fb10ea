"""`humo encode`: shards run through the frozen encoders, as shards with their own manifest, index and fingerprint.

Processes that `torchrun` started deal the shards among them; what comes out is the same, byte for byte.
"""

import hashlib
import io
import json
import sys
import tarfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from pydantic import BaseModel
from rich.console import Console
from rich.progress import track
from torch import Tensor

from humo.checkpoints import KNOWN_PARTS, Model
from humo.conditions.reference import zero_condition
from schemas.errors import UserError
from schemas.manifest import Counts, Feature, Manifest, Shard, shards_fingerprint
from schemas.sample import FPS, INDEX_SCHEMA
from training.config import Augmentation, Parallel, TrainingConfig
from training.dataset import IndexRow, ShardSet, open_shard_set, verify_shards
from training.decode import decode_clip
from training.draws import Draw, generator
from training.encoding import BatchEncoder
from training.features import FEATURES, NULL_TEXT, NULLS, RECIPE, member_extensions, null_name
from training.parallel import joined
from training.plan import Bucket, Slot, bucket_of
from training.recipe import recipe_fingerprint, recipe_of
from training.samples import DamagedSample, read_members
from training.start import unspread_model
from training.windows import Window, cut_window

_PARTIAL, _NOTE = ".partial-", ".made-"
_PLAIN = Augmentation(flip=0, smallest_scale=1, colour=0)


@dataclass(frozen=True)
class Encoded:
    """What an encoding left."""

    manifest: Path
    samples: int
    too_short: int
    damaged: int
    """`damaged.jsonl` beside the manifest says which and why."""
    seconds: float
    tells: bool
    """Whether this process is the one to tell about it."""


def encode(config: TrainingConfig, *, data: str, out: Path) -> Encoded:
    """Encode all samples of a manifest that training could use.

    A shard that is there is not made again, so a killed call goes on where it was, on any number of processes.

    Raises UserError for unreadable data, and for an `out` with shards of another recipe or source, or that the
    processes do not share.
    """
    began = time.monotonic()
    source = open_shard_set(data)
    if source.manifest.features:
        raise UserError(f"{data} is encoded already")
    # How training is to be spread is no matter here: every process has the encoders whole.
    with joined(Parallel(), device=config.device) as world:
        model = unspread_model(config, dict.fromkeys(KNOWN_PARTS, world.device))
        recipe = {"source": source.manifest.fingerprint, **recipe_of(config, model)}
        encoder = BatchEncoder(model, world.device)

        def begin() -> None:
            _begin(out, recipe)
            try:
                nulls = _stored(_nulls(config, source, model, encoder), config)
            except DamagedSample as error:
                raise UserError(f"the empty conditions cannot be stored: {error}") from error
            _write(out / NULLS, safetensors.torch.save(nulls))

        world.by_first(begin)
        own = source.manifest.shards[world.rank :: world.size]
        if config.data.verify != "nothing":
            part = replace(source, manifest=source.manifest.model_copy(update={"shards": own}))
            verify_shards(part, hashes=config.data.verify == "hashes")
        rows = defaultdict(list)
        for row in source.rows:
            rows[row.shard].append(row)
        work = _Work(config, source, encoder, out)
        for shard in progress(own, shown=world.first):
            work.shard(shard, rows[shard.url])
        world.meet()
        made = [_read_note(out, shard) for shard in source.manifest.shards]
        features = [Feature(name=FEATURES, fingerprint=recipe_fingerprint(recipe))]
        return _close(out, made, features, source, began, tells=world.first)


def progress(shards: Sequence[Shard], *, shown: bool) -> Iterable[Shard]:
    """The shards, with a bar on a terminal."""
    hidden = not shown or not sys.stderr.isatty()
    return track(shards, description="encoding", console=Console(stderr=True), disable=hidden)


def _nulls(config: TrainingConfig, source: ShardSet, model: Model, encoder: BatchEncoder) -> dict[str, Tensor]:
    nulls = {NULL_TEXT: encoder.text("")}
    if model.transformer.form == "channels":
        for bucket in {bucket for row in source.rows if (bucket := bucket_of(row, config.data))}:
            frames = bucket.frames + 4 * bucket.references
            grey = zero_condition(model.codec, frames=frames, height=bucket.height, width=bucket.width)
            nulls[null_name(frames, bucket.height, bucket.width)] = grey
    return nulls


class _Made(BaseModel):
    """What became of one shard of the source. Kept beside the shards, so that a killed call goes on where it was."""

    shard: Shard | None
    rows: list[dict[str, Any]]
    too_short: int
    damaged: list[dict[str, str]]


class _Work:
    def __init__(self, config: TrainingConfig, source: ShardSet, encoder: BatchEncoder, out: Path) -> None:
        self._config, self._source, self._encoder, self._out = config, source, encoder, out

    def shard(self, source: Shard, rows: Sequence[IndexRow]) -> None:
        """One shard of the source as one encoded shard, in the same order, unless it is there."""
        note = _note(self._out, source)
        if note.is_file():
            return
        partial = self._out / f"{_PARTIAL}{source.sha256[:16]}.tar"
        places: list[tuple[IndexRow, int, int]] = []
        damaged: list[dict[str, str]] = []
        too_short = 0
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as archive:
            for row in sorted(rows, key=lambda row: row.offset):
                bucket = bucket_of(row, self._config.data)
                if bucket is None:
                    too_short += 1
                    continue
                try:
                    members = self._members(row, bucket)
                except DamagedSample as error:
                    damaged.append({"key": row.key, "reason": str(error)})
                    continue
                start = archive.offset
                for extension, content in members.items():
                    info = tarfile.TarInfo(f"{row.key}.{extension}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
                places.append((row, start, archive.offset - start))
        made = _Made(shard=None, rows=[], too_short=too_short, damaged=damaged)
        if places:
            made = self._named(partial, source, places).model_copy(update={"too_short": too_short, "damaged": damaged})
        else:
            partial.unlink()
        _write(note, made.model_dump_json().encode())

    def _named(self, partial: Path, source: Shard, places: Sequence[tuple[IndexRow, int, int]]) -> _Made:
        """The finished tar under the name that its content gives it."""
        with partial.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        url = f"{source.split}-{source.tier}-{digest[:16]}.tar"
        size = partial.stat().st_size
        partial.rename(self._out / url)
        shard = source.model_copy(update={"url": url, "sha256": digest, "bytes": size, "samples": len(places)})
        rows = [{**asdict(row), "shard": url, "offset": offset, "bytes": length} for row, offset, length in places]
        return _Made(shard=shard, rows=rows, too_short=0, damaged=[])

    def _members(self, row: IndexRow, bucket: Bucket) -> dict[str, bytes]:
        members = read_members(self._source.address(row.shard), row)
        clip = decode_clip(members, row, bucket)
        settings = self._config.data.encoded
        count = settings.windows if row.frames > bucket.frames else 1
        starts = np.linspace(0, row.frames - bucket.frames, count).round().astype(int).tolist()
        # The row's own number stands in the slot's place, so that every clip is cropped in its own way.
        place = int(hashlib.sha256(row.key.encode()).hexdigest()[:8], 16)
        task = "sync" if row.tier == "sync" else "subject"

        def cut(number: int, start: int, variant: int) -> Window:
            return cut_window(
                clip,
                Slot(0, 0, task, row, bucket, start),  # type: ignore[arg-type]
                augmentation=self._config.data.augmentation if variant else _PLAIN,
                crop=generator(self._config.seed, Draw.CROP, place, number),
                variation=generator(self._config.seed, Draw.REFERENCE, place, variant),
            )

        windows = [cut(number, start, 0) for number, start in enumerate(starts)]
        variants = settings.variants if self._config.data.augmentation.varies else 1
        references = [cut(0, starts[0], variant).references_rhwc for variant in range(variants)]
        encoder = self._encoder
        tensors = {
            "starts": torch.tensor(starts),
            "video": torch.cat([encoder.video(torch.from_numpy(one.video_fhwc)[None]) for one in windows]),
            "mask": torch.from_numpy(np.stack([one.face_mask_thw for one in windows])).to(torch.uint8),
            "reference": torch.cat([encoder.pictures(torch.from_numpy(one)[None]) for one in references]),
            "text": encoder.text(members["txt"].decode()),
        }
        if row.tier == "sync":
            sounds = [encoder.sound(torch.from_numpy(one.waveform_s), bucket.frames) for one in windows]
            tensors["audio"] = torch.stack(sounds)
        features = safetensors.torch.save(_stored(tensors, self._config))
        return {name: features if name == FEATURES else members[name] for name in member_extensions(row.tier)}


def _begin(out: Path, recipe: dict[str, object]) -> None:
    """Raise UserError if the folder holds something else; empty it of what a killed call left."""
    path = out / RECIPE
    if path.is_file() and json.loads(path.read_text()) != recipe:
        raise UserError(f"{out} holds shards of another source or recipe: give another --out")
    found = [one for one in out.iterdir() if not one.name.startswith(_PARTIAL)] if out.exists() else []
    if found and not path.is_file():
        raise UserError(f"{out} is there already and holds no encoded shards: give another --out")
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob(f"{_PARTIAL}*"):
        left.unlink()
    _write(path, (json.dumps(recipe, indent=1) + "\n").encode())


def _note(out: Path, source: Shard) -> Path:
    return out / f"{_NOTE}{source.sha256[:16]}.json"


def _read_note(out: Path, source: Shard) -> _Made:
    note = _note(out, source)
    if not note.is_file():
        raise UserError(f"{out} lacks what another process encoded: give a folder that all of them see")
    return _Made.model_validate_json(note.read_text())


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    partial = path.with_name(f"{_PARTIAL}{path.name}")
    partial.write_bytes(content)
    partial.rename(path)


def _close(
    out: Path, made: Sequence[_Made], features: list[Feature], source: ShardSet, began: float, *, tells: bool
) -> Encoded:
    """What all processes made together. The one that tells writes index and manifest."""
    rows = [row for one in made for row in one.rows]
    shards = [one.shard for one in made if one.shard]
    damaged = [entry for one in made for entry in one.damaged]
    too_short = sum(one.too_short for one in made)
    if damaged and tells:
        _write(out / "damaged.jsonl", "".join(json.dumps(entry) + "\n" for entry in damaged).encode())
    if not rows:
        raise UserError(f"no sample could be encoded: {too_short} are too short, {len(damaged)} are damaged")
    kinds = Counter(row["tier"] for row in rows) + Counter(row["split"] for row in rows)
    seconds = sum(row["frames"] for row in rows) / FPS
    manifest = Manifest(
        version=1,
        fingerprint=shards_fingerprint(shards),
        features=features,
        encoded_from=source.manifest.fingerprint,
        counts=Counts(samples=len(rows), seconds=seconds, **kinds),
        shards=shards,
    )
    if tells:
        index = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA), index)
        _write(out / "index.parquet", index.getvalue().to_pybytes())
        _write(out / "manifest.json", manifest.to_json().encode())
    return Encoded(
        manifest=out / "manifest.json",
        samples=len(rows),
        too_short=too_short,
        damaged=len(damaged),
        seconds=time.monotonic() - began,
        tells=tells,
    )


def _stored(tensors: dict[str, Tensor], config: TrainingConfig) -> dict[str, Tensor]:
    """Raises DamagedSample for numbers that the precision does not hold."""
    dtype = torch.float16 if config.data.encoded.half else torch.float32
    stored = {
        name: (value.to(dtype) if value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in tensors.items()
    }
    for name, value in stored.items():
        if not value.isfinite().all():
            way_out = "; data.encoded.half=false keeps it" if tensors[name].isfinite().all() else ""
            raise DamagedSample(f"the features' {name} is not finite in {str(dtype)[6:]}{way_out}")
    return stored
