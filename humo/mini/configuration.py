"""The small `config.json` that stands in a mini encoder's folder instead of weights."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import UserError

CONFIG = "config.json"


class MiniConfig(BaseModel):
    """What a mini encoder is made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str
    """Name of the class."""
    seed: int = 0
    width: int = Field(default=1, ge=1, le=4096)
    """Channels of its features."""
    length: int = Field(default=1, ge=1, le=4096)
    """Longest text in tokens."""


def write_config(folder: Path, config: MiniConfig) -> None:
    """Make the folder and its `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config.model_dump(), indent=1) + "\n")


def read_config(folder: Path, encoder: str) -> MiniConfig:
    """Raises UserError for a `config.json` that is missing, malformed or another encoder's."""
    try:
        config = MiniConfig.model_validate_json((folder / CONFIG).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder / CONFIG} does not exist") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{folder / CONFIG}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if config.encoder != encoder:
        raise UserError(f"{folder / CONFIG} is of a {config.encoder}, not of a {encoder}")
    return config
