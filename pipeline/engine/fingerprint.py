"""Fingerprints of stages and digests of their inputs: what a result was computed with, and from."""

import hashlib
import json
from functools import cache
from importlib.metadata import version
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from pipeline.flow import STAGE, Stage


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@cache
def _version(package: str) -> str:
    return version(package)


def stage_fingerprint(stage: Stage, options: BaseModel) -> str:
    """16 hex digits over the stage's code version, its options and the versions of the packages that matter."""
    packages = {name: _version(name) for name in stage.packages}
    return _digest([stage.name, stage.version, options.model_dump(mode="json"), packages])


def fingerprints(config: BaseModel) -> dict[str, str]:
    """Stage name -> fingerprint, under this configuration."""
    return {name: stage_fingerprint(stage, attrgetter(stage.section or name)(config)) for name, stage in STAGE.items()}


def input_digest(*inputs: str | int) -> str:
    """16 hex digits over what a part was computed from: the paths of the parts upstream, and the span within them."""
    return _digest(list(inputs))


def stage_digest(name: str, version: int) -> str:
    """The fingerprint of a stage without options that could change a result."""
    return _digest([name, version])
