"""How a run ended, in its log: what was done, or why not, with the remedy that the error names."""

from collections.abc import Callable
from logging import ERROR
from typing import TypeVar

from flows.forms.log_lines import ending
from prestow.cancellation import current
from prestow.errors import CancelledError, PrestowError
from tasks.run_log import batched, tell

R = TypeVar("R")


def work_and_tell(work: Callable[[], R]) -> R:
    """Do the work of a run, and write into its log how it ended, before Prefect writes a traceback there."""
    with batched():
        try:
            result = work()
        except CancelledError as error:
            tell(f"cancelled: {error}")
            raise
        except Exception as error:
            token = current()
            if token is not None and token.cancelled:  # one step stopped, and so others failed
                tell(f"cancelled: {token.reason}")
            else:
                tell(f"failed: {error if isinstance(error, PrestowError) else repr(error)}", ERROR)
            raise
        tell(ending(result))
    return result
