"""When a step is tried again, and how long it waits before it is.

The error decides (``PrestowError.transient``); other exceptions are errors in the program and are not repeated. The
wait doubles, is spread at random, and is never shorter than what the other side asked for; where that is longer than
we would wait, the step fails at once. Prefect shows the wait as the state ``AwaitingRetry``, whose message says why,
and so does the run's log.
"""

from collections.abc import Callable
from threading import local
from typing import TYPE_CHECKING, Any

from prefect import task_engine
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.states import AwaitingRetry

from prestow.errors import PrestowError, printable
from tasks.delays import Retries
from tasks.journal import note_retry

if TYPE_CHECKING:
    from prefect import Task

_WHY = 1000  # characters of a reason
_reason = local()


def retry_condition(retries: Retries) -> Callable[[Any, TaskRun, State[Any]], bool]:
    """Return Prefect's retry condition: ask the error, and set the wait where the engine looks for it next."""

    def condition(task: "Task[..., Any]", task_run: TaskRun, state: State[Any]) -> bool:
        error: object = state.data
        if not isinstance(error, PrestowError):
            return False
        wait = retries.delay(task_run.run_count, error)
        if wait is None:
            return False
        task.retry_delay_seconds = [wait]  # of a copy of the task that only this call uses
        _tell(task_run, error, wait, retries)
        return True

    return condition


def _tell(task_run: TaskRun, error: PrestowError, wait: float, retries: Retries) -> None:
    """Say why a step is tried again, and when: in the run's log, and to who watches the journal."""
    name, why = str(task_run.name), printable(str(error), _WHY)
    _reason.text = why
    get_run_logger().warning(
        "%s: attempt %d of %d failed, the next one begins in %.1f s: %s",
        name, task_run.run_count, retries.attempts_for(error), wait, why,
    )  # fmt: skip
    note_retry(name, wait, why)


def _awaiting_retry(**details: Any) -> "State[Any]":
    """Return the state in which a step waits, with the reason that was just given in this thread."""
    why, _reason.text = getattr(_reason, "text", None), None
    return AwaitingRetry(**details, message=why)


task_engine.AwaitingRetry = _awaiting_retry  # type: ignore[assignment,attr-defined]  # name checked for 3.8 and 3.9
