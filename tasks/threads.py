"""The threads in which the steps of a flow run at the same time."""

from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from prefect.task_runners import ThreadPoolTaskRunner

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture
    from prefect.task_runners import TaskRunner

R = TypeVar("R")

PARALLEL_STEPS = 8


class Threads(ThreadPoolTaskRunner[R]):
    """Prefect's threads, which an interrupted run does not wait for.

    A step may wait for minutes, for a registry that says nothing or for its next attempt; a run that is told to end
    is to tell the API so at once. The process ends next, and what the steps had begun is as after a crash.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the steps under way, unless it is no error that ends the run, but a person or a signal."""
        if kind is not None and not issubclass(kind, Exception) and self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
        super().__exit__(kind, error, traceback)


THREADS = cast("TaskRunner[PrefectFuture[Any]]", Threads(max_workers=PARALLEL_STEPS))
"""Task runner of flows: layers are fetched, verified and applied at the same time. Each run has threads of its own."""
