"""What encoded shards were made from and how, and whether that is what a training run wants."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import fsspec

from humo.checkpoints import KNOWN_PARTS, Model
from schemas.errors import UserError
from training.config import TrainingConfig
from training.dataset import ShardSet
from training.features import RECIPE
from training.start import MINI

_ENDS = 1 << 20


def recipe_of(config: TrainingConfig, model: Model) -> dict[str, Any]:
    """What the features depend on besides the samples."""
    data = config.data.model_dump(mode="json", include={"sizes", "lengths", "references", "augmentation", "encoded"})
    return {"seed": config.seed, "form": model.transformer.form, "encoders": _encoders(config, model), **data}


def recipe_fingerprint(recipe: dict[str, Any]) -> str:
    """16 hex digits."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def check_recipe(shards: ShardSet, config: TrainingConfig, model: Model) -> None:
    """Raise UserError with the first difference if encoded shards are not what the configuration and model want."""
    if not shards.manifest.features:
        return
    address = f"{shards.folder}/{RECIPE}"
    try:
        with fsspec.open(address, "rb") as file:
            stored = json.loads(file.read())
    except (OSError, ValueError) as error:
        raise UserError(f"{address} cannot be read: {error}. Encode anew") from error
    wanted = recipe_of(config, model)
    if recipe_fingerprint(stored) != shards.manifest.features[0].fingerprint:
        raise UserError(f"{address} is not the one that the manifest beside it names. Encode anew")
    # How many windows and variants there are is the shards' own matter.
    for name in sorted(set(wanted) - {"encoded", "seed"}):
        if stored.get(name) != wanted[name]:
            raise UserError(
                f"{shards.folder} was encoded with {name} = {json.dumps(stored.get(name))}, the run has "
                f"{json.dumps(wanted[name])}. Encode anew, or change the configuration"
            )


def _encoders(config: TrainingConfig, model: Model) -> dict[str, str]:
    """A digest of each encoder's files: of names, sizes, and the first and the last MiB."""
    if config.model.start != MINI:
        return {part: _digest(Path(config.model.start) / part) for part in KNOWN_PARTS}
    parts: dict[str, Any] = {
        "text_encoder": model.text_encoder,
        "audio_encoder": model.audio_encoder,
        "vae": model.codec,
    }
    with tempfile.TemporaryDirectory() as folder:
        for part, encoder in parts.items():
            encoder.save(Path(folder) / part)
        return {part: _digest(Path(folder) / part) for part in KNOWN_PARTS}


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            digest.update(file.read())
    return digest.hexdigest()[:16]
