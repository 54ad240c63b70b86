"""The threads in which the steps of a flow run at the same time.

A step has a thread from when it is submitted, and one of a few places only while its body runs: a step that waits for
others, or for its next attempt because a registry asked for that, keeps no other step from running.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from threading import Semaphore
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

from prefect.futures import PrefectConcurrentFuture
from prefect.states import Pending
from prefect.task_runners import ThreadPoolTaskRunner

from prestow.cancellation import PROMPT, Token, check, current

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State
    from prefect.futures import PrefectFuture
    from prefect.task_runners import TaskRunner

P = ParamSpec("P")
R = TypeVar("R")

PARALLEL_STEPS = 8
_THREADS = 64

_PIECE = 0.25  # seconds of a wait
_LAST = 0.5  # seconds that the steps of a run that is to end have, to tell the API how they ended


def waited(future: Future[R]) -> R:
    """Return the result of a thread's work, or raise its error; a signal meanwhile is obeyed.

    Python runs the handler of a signal when the main thread comes back from what it does. A signal that arrives when
    it is just about to wait does not wake it, nor does one that another thread was given. So it waits piece by piece.
    """
    while not future.done():
        wait([future], timeout=_PIECE)
    return future.result()


_places: ContextVar[Semaphore | None] = ContextVar("places", default=None)


def placed(body: Callable[P, R]) -> Callable[P, R]:
    """Return a step's body that waits for a place where it is run by :class:`Threads`.

    Raises:
        CancelledError: the run is to end.
    """

    @wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with _place():
            return body(*args, **kwargs)

    return run


@contextmanager
def _place() -> Iterator[None]:
    places = _places.get()
    if places is None:
        yield
        return
    while not places.acquire(timeout=PROMPT):
        check()
    try:
        yield
    finally:
        places.release()


class Submitted(PrefectConcurrentFuture[R]):
    """A step that a thread runs: its state is known here.

    Prefect asks the API for the state of each future that a step is given, to find one that runs (a generator), and
    waits for the answer, which is that the API has not heard of it.
    """

    @property
    def state(self) -> "State[Any]":
        """The final state, or Pending before."""
        if not self.wrapped_future.done():
            return Pending()
        self.wait()
        return super().state

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:  # noqa: FBT001, FBT002 - Prefect's signature
        """Return what the step gave, or raise its error; see :func:`waited`."""
        if timeout is None:
            waited(self.wrapped_future)
        return super().result(timeout, raise_on_failure)


class Threads(ThreadPoolTaskRunner[R]):
    """Prefect's threads, which a run that is to end does not wait for.

    A step stops when its token tells it to, but it may be asleep until its next attempt, or wait for a disk. A run
    that is told to end is to tell the API so at once; what its steps had begun is as after a crash.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        """Take the greatest number of threads."""
        super().__init__(max_workers)
        self._places: Semaphore | None = (
            None  # made where the flow runs: a flow that is served is pickled with its runner
        )
        self._begun: list[Future[Any]] = []
        self._token: Token | None = None

    def __enter__(self) -> Self:
        """Start, with all places free."""
        self._places = Semaphore(PARALLEL_STEPS)
        return super().__enter__()

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Run a step in a thread, and remember by which token it may be told to end."""
        self._token = current()
        before = _places.set(self._places)
        future = super().submit(*args, **kwargs)
        _places.reset(before)
        self._begun.append(future.wrapped_future)
        return Submitted(future.task_run_id, future.wrapped_future)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the steps under way, unless the run is to end: by a person, or by a signal."""
        interrupted = kind is not None and not issubclass(kind, Exception)
        if self._executor is not None and (interrupted or (self._token is not None and self._token.cancelled)):
            for event in self._cancel_events.values():
                event.set()  # Prefect begins no other attempt
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
            wait(self._begun, timeout=_LAST)
        super().__exit__(kind, error, traceback)


THREADS = cast("TaskRunner[PrefectFuture[Any]]", Threads(max_workers=_THREADS))
"""Task runner of flows: layers are fetched, verified and applied at the same time. Each run has threads of its own."""
