"""run.json: the configuration in force, and the fingerprints that it gives."""

import json
from importlib.metadata import version
from typing import Any

from pipeline.config import CurateConfig
from pipeline.decide.verdicts import parse_rules
from pipeline.engine.fingerprint import fingerprints
from pipeline.flow import STAGES
from pipeline.profiles import options_of
from pipeline.store.files import Files
from schemas.configuration import merged, validated

PACKAGES = {"humo", "ray", "duckdb", "pyarrow", "lancedb", *(name for stage in STAGES for name in stage.packages)}
"""Distributions whose versions are recorded."""


def resolve(files: Files, over: dict[str, Any]) -> CurateConfig:
    """The configuration of the run so far, with what is given now laid over it. Raises UserError."""
    base = read_run(files).get("configuration", {})
    before = base.get("profile", "local")
    profile = over.get("profile", before)
    if profile != before:
        # A run remembers every option: those that the profile before set go back to their defaults.
        base = merged(_without(base, options_of(before)), options_of(profile))
    config = validated(CurateConfig, merged(base, over), where="configuration")
    if over:
        # Those that the run holds were checked when it was given them.
        parse_rules(config.decide)
    return config


def _without(options: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """`options` but for those that `others` names too."""
    return {
        name: _without(value, others[name]) if isinstance(value, dict) and isinstance(others.get(name), dict) else value
        for name, value in options.items()
        if name not in others or (isinstance(value, dict) and isinstance(others[name], dict))
    }


def read_run(files: Files) -> dict[str, Any]:
    """run.json, or nothing where there is no run yet."""
    if not files.exists("run.json"):
        return {}
    run: dict[str, Any] = json.loads(files.read("run.json"))
    return run


def write_run(files: Files, config: CurateConfig) -> None:
    """Record the configuration in force and the fingerprints that it gives."""
    run = {
        "schema": "humo.run/1",
        "configuration": config.model_dump(mode="json"),
        "fingerprints": fingerprints(config),
        "versions": {name: version(name) for name in sorted(PACKAGES)},
    }
    text = json.dumps(run, indent=1, sort_keys=True).encode()
    if not files.exists("run.json") or files.read("run.json") != text:
        files.replace("run.json", text)
