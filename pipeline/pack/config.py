"""How samples are grouped into shards."""

from pydantic import Field

from schemas.configuration import Configuration


class PackConfig(Configuration):
    """Where shards end. An end depends on the keys alone, so that adding a clip changes only its neighbours."""

    samples: int = Field(default=1000, ge=1, description="Samples in a shard on average: one key in so many ends one")
    max_bytes: int = Field(default=512 * 2**20, ge=2**20, description="A shard is closed at this size at the latest")
