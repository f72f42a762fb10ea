"""A sample in a shard, and the index that tells where it lies."""

import re

import pyarrow as pa

SAMPLE_SCHEMA = "humo.sample/1"

KEY_PATTERN = re.compile(r"^[0-9a-f]{16}_[0-9]+_[0-9]+$")
"""`{source_id}_{start_us}_{end_us}`: no dot, so that every reader splits names where we do."""

FPS = 25
SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS

INDEX_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        # The sample's bytes in the tar: from its first header to the end of its last member's padding.
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("references", pa.int32(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("identities", pa.list_(pa.string()), nullable=False),
    ],
    metadata={"humo.table": "index", "humo.version": "1"},
)


VOCALS = ".vocals.flac"
"""The voice alone, as the sound is: a member that only some shards have, and that a reader may pass over."""


def member_suffixes(tier: str, references: int, *, vocals: bool = False) -> list[str]:
    """The members of every sample of a shard, in their order in the tar."""
    sound = [".flac", *([VOCALS] if vocals else [])] if tier == "sync" else []
    pictures = [f".ref{number}.png" for number in range(references)]
    return [".mp4", *sound, ".txt", *pictures, ".faces.json", ".json"]
