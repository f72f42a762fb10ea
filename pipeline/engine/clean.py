"""What no commit needs: superseded parts and snapshots, media that no row names, shards of manifests not kept."""

from collections.abc import Iterator

from pipeline.engine.plan import PENDING
from pipeline.pack.manifest import read_manifests
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, snapshot_path
from pipeline.verdicts.fold import settled

MEDIA_COLUMNS = {
    "sources": ("locations", "source_id"),
    "clips": ("clips", "media_sha256"),
    "audio": ("clips", "audio_sha256"),
    "vocals": ("vocals", "vocals_sha256"),
    "faces": ("faces", "boxes_sha256"),
    "references": ("tracks", "reference_sha256"),
    "thumbnails": ("quality", "thumbnail_sha256"),
    "frames": ("frames", "frames_sha256"),
}
"""Kind of media -> the table and column that name them."""


def leftovers(files: Files, snapshot: Snapshot, *, keep_manifests: int) -> Iterator[str]:
    """Paths that nothing current needs: neither the newest commit nor one of the newest `keep_manifests` manifests.

    Only while no other command writes to the run: parts that wait for their commit would be taken for leftovers.
    """
    parts = snapshot.paths()
    yield from (path for path in files.walk("tables") if path not in parts)
    yield from files.walk(PENDING)
    yield from (path for path in files.walk("snapshots") if path != snapshot_path(snapshot.number))
    manifests = read_manifests(files)
    kept = dict(sorted(manifests.items())[-keep_manifests:])
    yield from (f"shards/manifests/{number}.json" for number in manifests if number not in kept)
    shards = {f"shards/{shard.url}" for manifest in kept.values() for shard in manifest.shards}
    yield from (path for path in files.walk("shards") if path.endswith(".tar") and path not in shards)
    yield from settled(files, snapshot)
    yield from _media(files, Relations(files, snapshot))


def _media(files: Files, relations: Relations) -> Iterator[str]:
    """By the first two digits of the hash, so that the names in memory stay few."""
    for kind, (table, column) in MEDIA_COLUMNS.items():
        for start in files.names(f"media/{kind}"):
            query = f'SELECT DISTINCT {column} FROM "{table}" WHERE starts_with({column}, ?)'
            named = {sha256 for (sha256,) in relations.connection.execute(query, [start]).fetchall()}
            if kind == "sources":
                # Of these something was taken down, which their own files still show.
                named -= relations.snapshot.removed.keys()
            for path in files.walk(f"media/{kind}/{start}"):
                if path.rsplit("/", 1)[-1].partition(".")[0] not in named:
                    yield path
