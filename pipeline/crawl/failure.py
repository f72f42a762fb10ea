"""Why a place could not be fetched."""

from typing import Literal

from pipeline.stage import Unmeasurable

Kind = Literal[
    "BadAddress",
    "BadResponse",
    "Dropped",
    "HTTPStatus",
    "NotFound",
    "PrivateAddress",
    "StorageError",
    "TimedOut",
    "TLSError",
    "TooLarge",
    "Unreachable",
    "WrongType",
]


class FetchFailed(Unmeasurable):
    """A place that could not be fetched.

    `heals`: another try may succeed though nothing here changes. `after_s`: how long the other side asks to wait.
    """

    def __init__(self, kind: Kind, message: str, *, heals: bool = False, after_s: float | None = None) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.heals = heals
        self.after_s = after_s
