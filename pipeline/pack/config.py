"""How samples are grouped into shards, and what is put right on the way."""

from pydantic import Field

from schemas.configuration import Configuration


class SyncCorrection(Configuration):
    """Sound moved in step with the lips when a clip of the sync tier is packed; measured rows stay as they are."""

    enabled: bool = Field(default=False, description="Move the sound by the measured offset")
    limit: int = Field(default=3, ge=1, le=15, description="Largest offset that is put right, in frames")
    p_value: float = Field(default=0.005, gt=0, le=1, description="Largest p-value of an offset that is believed")
    drift: int = Field(default=1, ge=0, description="Largest difference of the offset between a clip's halves")


class PackConfig(Configuration):
    """Where shards end: after keys whose hashes say so, so that adding a clip changes only its neighbours."""

    samples: int = Field(default=1000, ge=1, description="Samples in a shard on average: one key in so many ends one")
    max_bytes: int = Field(
        default=512 * 2**20, ge=2**20, description="Of a shard in bytes, at most: a larger run of samples is cut"
    )
    correction: SyncCorrection = SyncCorrection()
