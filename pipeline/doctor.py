"""What this machine can run, what is missing, and how to get it."""

import os
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipeline.backends.catalogue import BACKENDS, Backend
from pipeline.console import console
from pipeline.engine.preflight import has_gpu
from pipeline.environments import ENVIRONMENTS, bring, how_to_install, missing
from pipeline.weights.locate import CACHE, cache_folder, state_of
from pipeline.weights.table import weights
from pipeline.weights.weight import Weight

CORE = ("torch", "ray", "av", "opencv-python-headless", "scenedetect-headless", "silero-vad", "onnxruntime", "lancedb")
MISSING = "missing"
DEMO = ("scikit-image", "matplotlib")


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

    findings = [_package(name, "pip install -e .") for name in CORE]
    ready = all(finding.state != MISSING for finding in findings)
    findings += [_package(name, f"{bring('demo')}, for the demo film only") for name in DEMO]
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    free = shutil.disk_usage(".").free / 2**30
    findings += [
        Finding(what="cores", state=str(os.cpu_count()), advice="one worker a core: --set engine.workers=N"),
        Finding(what="memory", state=f"{memory:.0f} GiB", advice=""),
        Finding(what="disk here", state=f"{free:.0f} GiB free", advice=""),
        Finding(what="accelerator", state=gpu, advice="" if gpu != "none" else "not needed by the local profile"),
        Finding(what="weights", state=str(cache_folder()), advice=f"another place: the variable {CACHE}"),
        Finding(what="profile local", state="ready" if ready else "not ready", advice="the default"),
    ]
    return findings + [_backend(backend) for backend in BACKENDS] + [_weight(weight) for weight in weights().values()]


def _backend(backend: Backend) -> Finding:
    """Whether a backend of the gpu profile could run here: packages, weights, GPU."""
    lacking: list[str] = []
    steps: list[str] = []
    environment = ENVIRONMENTS[backend.environment] if backend.environment else None
    if environment is not None and (packages := missing(environment)):
        lacking.append(f"packages {', '.join(packages)}")
        steps.append(how_to_install(environment))
    for name in backend.weights:
        state, _ = state_of(weights()[name])
        if state != "present":
            lacking.append(f"weight {name} {state}")
            steps.append(f"humo fetch {name}")
    if backend.accelerator and not has_gpu():
        lacking.append("no GPU")
    what = f"backend {backend.option}={backend.value}"
    return Finding(what=what, state=f"not ready: {', '.join(lacking)}" if lacking else "ready", advice="; ".join(steps))


def _weight(weight: Weight) -> Finding:
    """Whether a weight lies in the cache, what may be done with it, and the command that brings it."""
    state, why = state_of(weight)
    note = f" ({weight.licence_note})" if weight.licence_note else ""
    advice = "" if state == "present" else f": humo fetch {weight.name}"
    said = f"{state} ({why})" if why else state
    return Finding(what=f"weight {weight.name}", state=said, advice=f"{weight.licence}{note}, {weight.source}{advice}")


def print_findings(findings: list[Finding]) -> None:
    """As a table."""
    table = Table(title="humo doctor", title_justify="left")
    for name in ("what", "state", "note"):
        # Commands to copy stand here: a narrow terminal folds them, and cuts nothing off.
        table.add_column(name, overflow="fold")
    for finding in findings:
        table.add_row(*map(escape, (finding.what, finding.state, finding.advice)))
    console.print(table)


def _package(name: str, advice: str) -> Finding:
    try:
        return Finding(what=name, state=version(name), advice="")
    except PackageNotFoundError:
        return Finding(what=name, state=MISSING, advice=advice)
