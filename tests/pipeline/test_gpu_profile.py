"""The gpu profile's whole line on the demo film, tiny models on the processor: shots, clips, every backend, shards.

It needs open_clip and insightface (see `humo doctor`) and takes minutes, so that it runs only where HUMO_GPU_PROFILE
is set; torchvision beside a CPU build of torch wants the folder `cpu_torchvision` on the path:

    HUMO_GPU_PROFILE=1 PYTHONPATH=.:tests/pipeline/cpu_torchvision python -m pytest tests/pipeline/test_gpu_profile.py
"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.backends.syncnet import SyncNet
from pipeline.demo.line import DEMO_CONFIG
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from schemas.configuration import merged
from schemas.tables import TABLES
from tests.pipeline import tiny_models
from tests.pipeline.backends.tiny_whisper import make_whisper
from tests.pipeline.chat_loopback import MODEL, loopback
from tests.pipeline.conftest import humo

if not os.environ.get("HUMO_GPU_PROFILE"):
    pytest.skip("takes minutes: set HUMO_GPU_PROFILE to run it", allow_module_level=True)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name of a weight -> its tiny stand-in."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "syncnet").mkdir()
    torch.manual_seed(0)
    torch.save(SyncNet().state_dict(), folder / "syncnet" / "syncnet_v2.model")
    made = {
        "syncnet-v2": folder / "syncnet",
        "faster-whisper-large-v3": make_whisper(folder),
        "qwen2.5-vl-7b": tiny_models.qwen(folder / "qwen", "2.5"),
        "transnetv2": tiny_models.transnet(folder / "transnet"),
        "open-clip-vit-l-14": tiny_models.open_clip(folder / "clip"),
        "laion-aesthetic": tiny_models.aesthetic_head(folder / "head"),
        "insightface-buffalo-l": tiny_models.insightface_pack(folder / "faces"),
        "htdemucs-ft-vocals": tiny_models.demucs(folder / "vocals"),
    }
    return {name: str(path) for name, path in made.items()}


def options(own: dict[str, str], **over: Any) -> dict[str, Any]:
    tiny = {
        "weights": {"own": own},
        "frames": {"count": 3, "longest_side": 112},
        "captions": {"tokens": 16, "attempts": 1},
        "vocals": {"backend": "demucs"},
        # Random weights find nothing pleasing, and no cut that is one.
        "shots": {"transnetv2_threshold": 0.99},
        "decide": {"subject": ["faces.subjects between 1 and 3", "captions.contradictions = 0"], "sync": []},
        "engine": {"device": "cpu", "workers": 1, "build_environments": False},
    }
    demo = yaml.safe_load(Path(DEMO_CONFIG).read_text())
    return merged(merged(demo, tiny), over)


def test_the_whole_line_runs_with_each_captioner_and_other_captions_need_no_decode(
    film: Path, own: dict[str, str], tmp_path: Path
) -> None:
    """First with a server, in a pass of its own; then the same run with Qwen here, which only captions again."""
    run, given = tmp_path / "run", tmp_path / "options.yaml"
    with loopback() as server:
        captions = {"backend": "server", "server": {"url": server.url, "model": MODEL}, "attempts": 2}
        placement = {"captions": {"actors": 1, "cpus": 0.5}, "looks": {"actors": 1, "cpus": 0.5}}
        chosen = options(own, captions=captions, engine={"placement": placement})
        given.write_text(yaml.safe_dump(chosen))
        done = humo("curate", film / "reel1.mp4", "--out", run, "--profile", "gpu", "--config", given)
    assert done.code == 0, done.text
    relations = Relations(Files(str(run)), latest(Files(str(run))))
    clips = relations.connection.execute("SELECT count(*) FROM clips WHERE status = 'ok'").fetchall()[0][0]
    assert clips > 2
    for table in (
        "quality",
        "frames",
        "faces",
        "captions",
        "looks",
        "speech",
        "sync",
        "vocals",
        "references",
        "decisions",
    ):
        rows = relations.arrow(table)
        assert rows.schema == TABLES[table].schema
        assert rows.num_rows == clips, table
    query = """SELECT count(*) FROM captions JOIN looks USING (id)
               WHERE text LIKE 'A % wall fills%' AND caption_similarity IS NOT NULL AND aesthetic IS NOT NULL"""
    assert relations.connection.execute(query).fetchall() == [(clips,)]
    query = """SELECT count(*) FILTER (sync.backend LIKE 'syncnet%'), count(*) FILTER (speech.log_probability < 0)
               FROM sync JOIN speech USING (id) WHERE speech.ratio > 0.5 AND sync.status = 'ok'"""
    by_syncnet, by_whisper = relations.connection.execute(query).fetchall()[0]
    assert by_syncnet == by_whisper > 0
    agreed = 'SELECT count(*) FROM "references" WHERE (count > 0) = (caption_similarity IS NOT NULL)'
    assert relations.connection.execute(agreed).fetchall() == [(clips,)]
    kept = relations.connection.execute("SELECT count(*) FROM decisions WHERE outcome = 'keep'").fetchall()[0][0]
    assert kept > 0
    verified = humo("verify", run)
    assert verified.code == 0, verified.text
    decodes = latest(Files(str(run))).work["decodes.measure"]

    done = humo("curate", "--out", run, "--set", "captions.backend=qwen_vl", "--set", "captions.attempts=1")
    assert done.code == 1, done.text
    assert "no caption after 1 attempts" in " ".join(done.text.split())
    work = latest(Files(str(run))).work
    assert work["decodes.measure"] == decodes, "frames were decoded again for another captioner"
    assert work["computed.captions"] == 2 * clips
    assert work["computed.faces"] == clips
