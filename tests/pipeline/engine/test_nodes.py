"""Several Ray nodes and a run on object storage: a node is killed in the middle, another joins, the result is the same.

A long form: it starts six Ray nodes. `HUMO_LONG=1 pytest tests/pipeline/engine/test_nodes.py`.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from pipeline.config import CurateConfig
from pipeline.stages.clips import ClipsConfig
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from schemas.command_line import COMMAND
from schemas.tables import TABLES, UNHASHED_COLUMNS
from tests.pipeline.direct_run import curate_directly
from tests.pipeline.made_videos import numbered, steady, texture, write_video

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("HUMO_LONG" not in os.environ, reason="starts several Ray nodes: set HUMO_LONG=1"),
]
SETTINGS = ["--set", "clips.frames=21", "--set", "clips.min_frames=17", "--set", "engine.workers=2"]


@pytest.fixture
def storage() -> Iterator[Any]:
    """A fresh S3 server with a bucket `runs`, found by the environment, that of the nodes too."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        found = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
        found.mkdir("runs")
        yield found
    server.stop()


def rows_of(root: str) -> dict[str, list[dict[str, object]]]:
    files = Files(root)
    relations = Relations(files, latest(files))
    return {name: relations.arrow(name).drop_columns(list(UNHASHED_COLUMNS)).to_pylist() for name in TABLES}


def shards_of(root: str) -> dict[str, str]:
    manifest = json.loads(Files(root).read("shards/manifest.json"))
    return {shard["url"]: shard["sha256"] for shard in manifest["shards"]}


def test_a_node_dies_and_another_joins_and_the_result_is_that_of_one_machine(storage: Any, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    footage = tmp_path / "footage"
    footage.mkdir()
    for number in range(8):
        scenes = [numbered(texture(10 * number + scene), scene) for scene in range(3) for _ in range(21)]
        write_video(footage / f"made{number}.mp4", scenes, times_ms=steady(len(scenes)))
    curate_directly(tmp_path / "alone", [footage], CurateConfig(clips=ClipsConfig(frames=21, min_frames=17)))

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 * 2**20})
    try:
        first = cluster.add_node(num_cpus=3, object_store_memory=80 * 2**20)
        cluster.add_node(num_cpus=3, object_store_memory=80 * 2**20)
        command = ["curate", str(footage), "--out", "s3://runs/nodes", "--address", cluster.address, *SETTINGS]
        driver = subprocess.Popen([*COMMAND, *command])
        deadline = time.monotonic() + 400
        while not storage.find("runs/nodes/pending"):
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        cluster.remove_node(first, allow_graceful=False)
        cluster.add_node(num_cpus=3, object_store_memory=80 * 2**20)
        assert driver.wait(400) == 0
    finally:
        cluster.shutdown()
    assert rows_of("s3://runs/nodes") == rows_of(str(tmp_path / "alone"))
    assert shards_of("s3://runs/nodes") == shards_of(str(tmp_path / "alone"))
