"""run.json: the configuration in force, and the fingerprints that it gives."""

import json
from typing import Any

from pipeline.config import CurateConfig
from pipeline.decide.verdicts import parse_rules
from pipeline.engine.fingerprint import fingerprints
from pipeline.store.files import Files
from schemas.configuration import merged, validated
from schemas.errors import UserError


def resolve(files: Files, over: dict[str, Any]) -> CurateConfig:
    """The configuration of the run so far, with what is given now laid over it. Raises UserError."""
    base = read_run(files).get("configuration", {})
    config = validated(CurateConfig, merged(base, over), where="configuration")
    if config.profile == "gpu":
        raise UserError("the gpu profile has no backends in this version; use --profile local")
    parse_rules(config.decide)
    return config


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
    }
    text = json.dumps(run, indent=1, sort_keys=True).encode()
    if not files.exists("run.json") or files.read("run.json") != text:
        files.replace("run.json", text)
