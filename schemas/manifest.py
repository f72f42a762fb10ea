"""The manifest of a shard set, the contract between `humo pack` and every consumer."""

import hashlib
import json
from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from schemas.errors import UserError

MANIFEST_SCHEMA: Literal["humo.manifest/1"] = "humo.manifest/1"
Split = Literal["train", "val"]
Tier = Literal["subject", "sync"]


class Shard(BaseModel):
    """One tar file of samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    """Relative to the manifest, or absolute; relative ones may not climb out of the manifest's folder."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=1)
    samples: int = Field(ge=1)
    split: Split
    tier: Tier

    @field_validator("url")
    @classmethod
    def _inside(cls, url: str) -> str:
        if "://" not in url and (".." in PurePosixPath(url).parts or url.startswith("/")):
            raise ValueError(f"the shard address {url!r} leaves the manifest's folder")
        return url


class Counts(BaseModel):
    """How much the shards hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: int = 0
    subject: int = 0
    sync: int = 0
    seconds: float = 0.0
    train: int = 0
    val: int = 0


class Feature(BaseModel):
    """A precomputed member that `humo encode` added to every sample."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    fingerprint: str


class Manifest(BaseModel):
    """What `manifest.json` holds. `fingerprint` covers the shards' hashes, so equal fingerprints mean equal bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: Literal["humo.manifest/1"] = Field(default=MANIFEST_SCHEMA, alias="schema")
    version: int = Field(ge=1)
    fingerprint: str
    features: list[Feature] = []
    encoded_from: str | None = None
    """Fingerprint of the manifest whose samples `humo encode` encoded, which hold the pictures and the sound."""
    counts: Counts
    shards: list[Shard]

    def to_json(self) -> str:
        """Stable text: same content, same bytes."""
        return json.dumps(self.model_dump(by_alias=True, exclude_none=True), indent=1) + "\n"


def shards_fingerprint(shards: list[Shard]) -> str:
    """SHA-256 over the shards' hashes in name order, 16 hex digits."""
    lines = "\n".join(sorted(f"{shard.url} {shard.sha256}" for shard in shards))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def parse_manifest(text: str, *, where: str) -> Manifest:
    """Read a manifest. Raises UserError that names `where` for anything that is not one this version reads."""
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not a manifest: {error}") from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != MANIFEST_SCHEMA:
        raise UserError(f"{where} has the schema {schema!r}; this version reads {MANIFEST_SCHEMA!r}")
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
