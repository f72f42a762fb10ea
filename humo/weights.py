"""Reading weight files and fitting them to a model, every key accounted for. Nothing here runs code from a file."""

import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from schemas.errors import UserError

UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    OverflowError,
    MemoryError,
)
"""What torch's restricted unpickler raises on files that are damaged or hold more than tensors."""
NAMED = 5
"""How many keys an error names before it counts the rest."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a `.safetensors` file, a `.safetensors.index.json` with its shards, a `.pth` or `.pt` file, or a
    folder with one of these, on the CPU.

    Pickled files are read with `weights_only=True`. Raises UserError for whatever cannot be read so.
    """
    if path.is_dir():
        return read_weights(_only_weights(path))
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    if path.name.endswith(".safetensors.index.json"):
        return _read_shards(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pth", ".pt"):
        return _read_pickled(path)
    raise UserError(f"{path} is no weight file; .safetensors, .safetensors.index.json, .pth and .pt are")


def check_fit(
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    *,
    where: str,
    optional: Callable[[str], bool] = lambda key: False,
    extras: tuple[str, ...] = (),
) -> list[str]:
    """Account for every key.

    Args:
        wanted: the model's parameters with their shapes.
        found: the weights' keys with their shapes.
        where: names the source in errors.
        optional: which parameters may be absent. By default none.
        extras: patterns (`*` and `?`) of keys that may be there without being wanted.

    Returns:
        The keys that are left aside, for the caller to print.

    Raises:
        UserError: naming missing, unexpected or misshaped keys.
    """
    spare = [key for key in found if key not in wanted]
    refused = [key for key in spare if not any(fnmatchcase(key, pattern) for pattern in extras)]
    missing = [key for key in wanted if key not in found and not optional(key)]
    misshaped = [
        f"{key} {found[key]} instead of {shape}"
        for key, shape in wanted.items()
        if key in found and found[key] != shape
    ]
    problems = [
        f"{problem}: {_name(keys)}"
        for problem, keys in (("missing keys", missing), ("unexpected keys", refused), ("wrong shapes", misshaped))
        if keys
    ]
    if problems:
        raise UserError(f"{where} does not fit this model. {'. '.join(problems)}")
    return spare


def fit_weights(model: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Put the weights into the model, which may be on the meta device; its parameters become these tensors.

    Raises UserError unless the keys and shapes are exactly the model's; see `check_fit`.
    """
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    check_fit(wanted, {key: tuple(value.shape) for key, value in state.items()}, where=where)
    model.load_state_dict(state, strict=True, assign=True)


def _name(keys: list[str]) -> str:
    rest = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return ", ".join(keys[:NAMED]) + rest


def _only_weights(folder: Path) -> Path:
    for pattern in ("*.safetensors.index.json", "*.safetensors", "*.pth", "*.pt"):
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{folder} holds several weight files ({_name([path.name for path in found])}); name one")
    raise UserError(f"{folder} holds no weight file")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no readable safetensors file: {error}") from error


def _read_shards(index: Path) -> dict[str, Tensor]:
    try:
        weight_map = json.loads(index.read_text())["weight_map"]
        placed = {str(key): str(name) for key, name in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is no index of weight files") from error
    state: dict[str, Tensor] = {}
    for name in sorted(set(placed.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"{index} names {name!r}, which is no safetensors file beside it")
        shard = read_weights(index.parent / name)
        wrong = [key for key in shard if placed.get(key) != name]
        if wrong:
            raise UserError(f"{index.parent / name} holds keys its index does not place there: {_name(wrong)}")
        state |= shard
    absent = [key for key in placed if key not in state]
    if absent:
        raise UserError(f"the files beside {index} lack keys it names: {_name(absent)}")
    return state


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        # A zipped file can be mapped, so that a big one is not read into memory at once.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UNREADABLE as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} is no plain file of weights: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds something other than named tensors")
    return {str(key): value for key, value in state.items()}
