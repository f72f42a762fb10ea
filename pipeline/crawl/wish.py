"""What is asked of a place, and how the asking ended."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Ended = Literal["whole", "unchanged", "unwanted"]
"""All bytes are here; or they would be those already known; or those that must not come back."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is taken. `types`: patterns of Content-Types. `seconds`: for all tries together.

    `known_etag`: the version that need not come again; "" for none. `unwanted`: whether a version must not come.
    `any_host`: schemes are open whose addresses may name any host.
    """

    types: tuple[str, ...]
    seconds: float
    known_etag: str
    unwanted: Callable[[str], bool]
    any_host: bool
