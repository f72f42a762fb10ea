"""What this machine can run, what is missing, and how to get it."""

import os
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.table import Table

from pipeline.console import console

CORE = ("torch", "ray", "av", "opencv-python-headless", "scenedetect-headless", "silero-vad", "onnxruntime", "lancedb")
MISSING = "missing"
DEMO = ("scikit-image", "matplotlib")

LATER = {
    "shots": "TransNetV2",
    "faces, identity": "insightface (its published models are for non-commercial research)",
    "captions": "Qwen2.5-VL / Qwen3-VL, or an OpenAI-compatible server",
    "speech": "whisperx, vocal separation",
    "sync": "SyncNet",
    "aesthetics, similarity": "open_clip with the LAION head",
}
"""Backends of the gpu profile, which this version does not have."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at: whether it is there, and what to do where it is not."""

    what: str
    state: str
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look at packages, processors, memory, the accelerator and the backends."""
    import torch

    findings = [_package(name, "pip install humo") for name in CORE]
    ready = all(finding.state != MISSING for finding in findings)
    findings += [_package(name, "pip install 'humo[demo]', for the demo film only") for name in DEMO]
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    free = shutil.disk_usage(".").free / 2**30
    findings += [
        Finding(what="cores", state=str(os.cpu_count()), advice="one worker a core: --set engine.workers=N"),
        Finding(what="memory", state=f"{memory:.0f} GiB", advice=""),
        Finding(what="disk here", state=f"{free:.0f} GiB free", advice=""),
        Finding(what="accelerator", state=gpu, advice="" if gpu != "none" else "not needed by the local profile"),
        Finding(what="profile local", state="ready" if ready else "not ready", advice="the default"),
    ]
    findings += [
        Finding(what=f"profile gpu: {need}", state="not in this version", advice=backend)
        for need, backend in LATER.items()
    ]
    return findings


def print_findings(findings: list[Finding]) -> None:
    """As a table."""
    table = Table("what", "state", "note", title="humo doctor", title_justify="left")
    for finding in findings:
        table.add_row(finding.what, finding.state, finding.advice)
    console.print(table)


def _package(name: str, advice: str) -> Finding:
    try:
        return Finding(what=name, state=version(name), advice="")
    except PackageNotFoundError:
        return Finding(what=name, state=MISSING, advice=advice)
