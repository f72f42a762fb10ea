"""Creating an object only where none is: what object stores answer to that, told apart."""

from collections.abc import Callable
from http import HTTPStatus

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

TRIES = 8
PAUSE_S, LONGEST_S = 0.2, 5.0
"""Between tries where another request for the same name is under way: drawn up to these, doubling from the first."""


def created(write: Callable[[], object]) -> bool:
    """Whether this is what made the file; False where it is there already. `write` creates it, and fails if it is.

    S3 answers 412 (precondition failed) where there is such an object, and 409 (conditional request conflict) where
    another request to make it has not ended: then it is asked again. s3fs knows only one form of the first. A request
    whose answer was lost is sent again by the client, which is then told 412 of the very object that it made: whoever
    has to know compares what is there.

    Raises OSError for all else.
    """
    wait = wait_random_exponential(multiplier=PAUSE_S, max=LONGEST_S)
    try:
        Retrying(retry=retry_if_exception(_conflict), wait=wait, stop=stop_after_attempt(TRIES), reraise=True)(write)
    except FileExistsError:
        return False
    except OSError as error:
        if _status(error) == HTTPStatus.PRECONDITION_FAILED:
            return False
        raise
    return True


def _conflict(error: BaseException) -> bool:
    return _status(error) == HTTPStatus.CONFLICT


def _status(error: BaseException) -> int | None:
    """The HTTP status of the store's answer that s3fs made this error of."""
    response = getattr(error.__cause__, "response", None)
    if not isinstance(response, dict):
        return None
    status: int | None = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status
