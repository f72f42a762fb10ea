"""Fingerprints of stages and digests of their inputs: what a result was computed with, and from."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.backends.catalogue import chosen
from pipeline.environments import ENVIRONMENTS
from pipeline.flow import STAGE, Stage
from pipeline.weights.content import content_of
from pipeline.weights.locate import Weights
from pipeline.weights.table import weight_named


@dataclass(frozen=True, kw_only=True)
class Uses:
    """What a stage's chosen backends stand on."""

    packages: dict[str, str]
    weights: dict[str, str]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@cache
def _version(package: str) -> str:
    return version(package)


def stage_fingerprint(stage: Stage, options: BaseModel, uses: Uses | None = None) -> str:
    """16 hex digits over the stage's code version, its options and the versions of the packages that matter.

    `uses`: packages and weights of the backends that the options choose.
    """
    packages = {name: _version(name) for name in stage.packages}
    said = [stage.name, stage.version, _options(options), packages]
    if uses is not None and (uses.packages or uses.weights):
        said.append([uses.packages, uses.weights])
    return _digest(said)


def _options(options: BaseModel) -> dict[str, Any]:
    """As JSON, without those that a section names in `WHERE`: where and how fast it works changes no result.

    Of a file that an option names, a model's, the content counts: not where it lies.
    """
    without: frozenset[str] = getattr(options, "WHERE", frozenset())
    dumped = options.model_dump(mode="json", exclude=set(without))
    for name in dumped:
        below = getattr(options, name)
        if isinstance(below, BaseModel):
            dumped[name] = _options(below)
        elif isinstance(below, Path):
            dumped[name] = content_of(below)
        elif isinstance(below, dict):
            dumped[name] |= {key: content_of(value) for key, value in below.items() if isinstance(value, Path)}
    return dumped


def uses_of(stage: str, config: Any) -> Uses:
    """Packages (name -> version, or the version asked for) and weights (name -> what tells it from another)."""
    packages: dict[str, str] = {}
    identities: dict[str, str] = {}
    for backend in chosen(config):
        if backend.stage != stage:
            continue
        packages |= {name: _version(name) for name in backend.packages}
        if backend.environment is not None:
            packages |= dict(ENVIRONMENTS[backend.environment].packages)
        weights = Weights(config.weights.own)
        identities |= {name: _identity(weights, name) for name in backend.weights_of(config)}
    return Uses(packages=packages, weights=identities)


def _identity(weights: Weights, name: str) -> str:
    own = weights.own(name)
    return weight_named(name).digest if own is None else content_of(own)


def fingerprints(config: BaseModel) -> dict[str, str]:
    """Stage name -> fingerprint, under this configuration."""
    return {
        name: stage_fingerprint(stage, attrgetter(stage.section or name)(config), uses_of(name, config))
        for name, stage in STAGE.items()
    }


def input_digest(*inputs: str | int) -> str:
    """16 hex digits over what a part was computed from: the paths of the parts upstream, and the span within them."""
    return _digest(list(inputs))


def stage_digest(name: str, version: int) -> str:
    """The fingerprint of a stage without options that could change a result."""
    return _digest([name, version])
