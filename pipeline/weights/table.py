"""Every weight that any backend may load: one table, put together from what the backends' modules declare."""

from collections.abc import Iterator
from functools import cache
from importlib import import_module

from pipeline.weights.weight import Weight
from schemas.errors import UserError

DECLARED_IN = (
    "pipeline.backends.qwen_vl",
    "pipeline.backends.open_clip_looks",
    "pipeline.backends.transnet_cuts",
    "pipeline.backends.insightface_pack",
    "pipeline.backends.whisper_weights",
    "pipeline.backends.demucs_vocals",
    "pipeline.backends.syncnet_weights",
)
"""Modules with a tuple `WEIGHTS`. Importing one of them imports no model library."""


@cache
def weights() -> dict[str, Weight]:
    """Name -> weight, in the order of the modules."""
    return {weight.name: weight for weight in _declared()}


def weight_named(name: str) -> Weight:
    """Raises UserError for a name that no backend knows."""
    found = weights().get(name)
    if found is None:
        raise UserError(f"there is no weight {name!r}; there are: {', '.join(weights())}")
    return found


def _declared() -> Iterator[Weight]:
    for module in DECLARED_IN:
        yield from import_module(module).WEIGHTS
