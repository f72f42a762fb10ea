"""The shards of a run's decisions: the last of the set stages."""

import time

from pipeline.config import CurateConfig
from pipeline.engine.progress import Progress, silent
from pipeline.engine.set_parts import set_parts
from pipeline.pack.card import write_card
from pipeline.pack.pack import pack
from pipeline.store.files import Files
from pipeline.store.parts import write_table
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot


def pack_into(files: Files, snapshot: Snapshot, config: CurateConfig, *, progress: Progress = silent) -> Snapshot:
    """The snapshot with the shards of its decisions; where these are packed already, as it is."""
    paths = set_parts("pack", Relations(files, snapshot), config)
    if snapshot.sets.get("index") == paths["index"] and files.exists("shards/manifest.json"):
        return snapshot
    start, began = time.process_time(), time.monotonic()
    manifest, index = pack(
        files, snapshot, config.pack, told=lambda done, total: progress("runs of samples packed", done, total)
    )
    write_table(files, paths["index"], index)
    write_card(files, Relations(files, snapshot), config, manifest)
    work = {
        "seconds.pack": time.process_time() - start,
        "wall.pack": time.monotonic() - began,
        "computed.pack": len(manifest.shards),
    }
    return snapshot.with_set(paths).with_work(work)
