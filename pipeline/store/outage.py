"""A store that fails: its own kind of error, so that it is never taken for the fault of what was being stored."""

import errno
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from schemas.errors import UserError, WorkFailed

FOR_S = 30.0
"""So long a store elsewhere is asked again, beyond what its own client does."""
PAUSE_S, LONGEST_S = 0.5, 8.0

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

P = ParamSpec("P")
R = TypeVar("R")


class StorageFailed(WorkFailed):
    """The run's store does not do what is asked of it. What is committed is kept."""


def guarded(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """A method of `Files` whose failures are the store's: tried again where it is elsewhere, then StorageFailed.

    FileNotFoundError and FileExistsError are answers; a full disk is told from other failures by its number.
    """

    @wraps(method)
    def called(files: Any, /, *arguments: P.args, **options: P.kwargs) -> R:
        elsewhere = files.remote is not None
        try:
            if not elsewhere:
                return method(files, *arguments, **options)
            wait = wait_random_exponential(multiplier=PAUSE_S, max=LONGEST_S)
            again = Retrying(retry=retry_if_exception(_may_heal), wait=wait, stop=stop_after_delay(FOR_S), reraise=True)
            return again(method, files, *arguments, **options)
        except Exception as error:
            if not _of_the_store(error, elsewhere=elsewhere):
                raise
            said = f"{files.root} failed at {method.__name__}: {type(error).__name__}: {error}"
            raise StorageFailed(f"{said}. What is committed is kept: give the same command again") from error

    return called


def _of_the_store(error: BaseException, *, elsewhere: bool) -> bool:
    if isinstance(error, OSError):
        return not isinstance(error, FileNotFoundError | FileExistsError) and error.errno not in NO_ROOM
    # Every file system has errors of its own, and botocore's are not OSErrors; but these are no store's.
    mistakes = (TypeError, AttributeError, LookupError, AssertionError, NameError, UserError, WorkFailed)
    return elsewhere and not isinstance(error, mistakes)


def _may_heal(error: BaseException) -> bool:
    return _of_the_store(error, elsewhere=True) and not isinstance(error, PermissionError)
