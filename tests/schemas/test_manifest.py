"""A manifest is read strictly: what it names may not leave its folder, and what it does not know it refuses."""

import json

import pytest

from schemas.errors import UserError
from schemas.manifest import Counts, Manifest, Shard, parse_manifest, shards_fingerprint

SHARD = {
    "url": "train-sync-0123456789abcdef.tar",
    "sha256": "0" * 64,
    "bytes": 10240,
    "samples": 1,
    "split": "train",
    "tier": "sync",
}


def manifest_text(**shard: object) -> str:
    shards = [Shard.model_validate({**SHARD, **shard})]
    counts = Counts(samples=1, sync=1, train=1)
    manifest = Manifest(version=1, fingerprint=shards_fingerprint(shards), counts=counts, shards=shards)
    return manifest.to_json()


def test_round_trip_is_stable() -> None:
    text = manifest_text()
    assert parse_manifest(text, where="m").to_json() == text
    assert json.loads(text)["schema"] == "humo.manifest/1"


@pytest.mark.parametrize("url", ["../outside.tar", "a/../../b.tar", "/etc/passwd"])
def test_shard_outside_the_folder_is_refused(url: str) -> None:
    raw = json.loads(manifest_text())
    raw["shards"][0]["url"] = url
    with pytest.raises(UserError, match="leaves the manifest's folder"):
        parse_manifest(json.dumps(raw), where="m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a manifest"),
        ("[]", "has the schema None"),
        ('{"schema": "humo.manifest/9"}', "humo.manifest/9"),
        (manifest_text().replace('"features"', '"feature"'), "feature"),
        (manifest_text().replace("0" * 64, "0" * 63), "sha256"),
    ],
)
def test_anything_else_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_manifest(text, where="m.json")
    assert "\n" not in str(caught.value)


def test_fingerprint_follows_the_bytes_and_not_the_order() -> None:
    one = Shard.model_validate(SHARD)
    two = Shard.model_validate({**SHARD, "url": "train-sync-1.tar", "sha256": "1" * 64})
    other = Shard.model_validate({**SHARD, "url": "train-sync-1.tar", "sha256": "2" * 64})
    assert shards_fingerprint([one, two]) == shards_fingerprint([two, one])
    assert shards_fingerprint([one, two]) != shards_fingerprint([one, other])
