"""Cancelling a run: whoever asks for it, the work stops within a second, and the API knows the run as Cancelled.

    Ctrl-C, SIGTERM ─▶ exception in the flow ─┐
    UI, API ─▶ watcher (two reads a second) ──┼─▶ token ─▶ steps stop at their next chunk ─▶ state Cancelled
    a person refuses to approve ──────────────┘

A run that a worker started is told of a cancellation in the UI by the worker's SIGTERM, and the worker sets the state;
other runs watch for it themselves. What is complete stays in the store: the same call again goes on from there.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from functools import wraps
from inspect import signature
from typing import Never, NoReturn, ParamSpec, TypeVar, cast
from uuid import UUID

from prefect import Flow, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Failed

from flows.local_server.runs import registered
from flows.runs.bounded import check_parameters
from flows.runs.telling import work_and_tell
from flows.tagging import steps_untagged
from prestow.cancellation import Token, check, current, watched
from prestow.errors import CancelledError, ContainerFailedError, RefusedError

P = ParamSpec("P")
R = TypeVar("R")

REFUSED = "Refused"
"""Name of the state of a run whose images do not fit on the host's disk."""

INTERRUPTED = "interrupted by a person or a signal"

_SECONDS = 0.5  # between two looks at the API
_GRACE = 2.0  # seconds that the process of a worker's run has to end by itself
_KILLED = 143  # 128 and the number of SIGTERM

_run: ContextVar[UUID | None] = ContextVar("cancellable run", default=None)


class OpenRuns:
    """The flow runs under way of a process that may have to leave without waiting for them."""

    def __init__(self) -> None:
        """Know of none."""
        self._contexts: dict[UUID, Context] = {}

    def open(self, run: UUID) -> None:
        """Note a run that has begun, and how this thread reaches the API."""
        self._contexts[run] = copy_context()

    def close(self, run: UUID) -> None:
        """Forget a run that has ended."""
        self._contexts.pop(run, None)

    def cancel(self, seconds: float = 5.0) -> None:
        """Report to the API that those that are left are cancelled; give up after some ``seconds``."""
        for run, context in list(self._contexts.items()):
            thread = threading.Thread(target=context.run, args=(_tell, run), daemon=True)
            thread.start()
            thread.join(seconds)
            self.close(run)


_open_runs: ContextVar[OpenRuns | None] = ContextVar("open runs", default=None)


@contextmanager
def noticed(runs: OpenRuns) -> Iterator[OpenRuns]:
    """Note the flow runs that begin in this block in ``runs``, for as long as they last."""
    before = _open_runs.set(runs)
    try:
        yield runs
    finally:
        _open_runs.reset(before)


def cancellable(flow: Flow[P, R]) -> Flow[P, R]:
    """Let the runs of a flow be cancelled; put it above ``@flow``.

    A run that was cancelled raises ``prefect.exceptions.CancelledRun``; after Ctrl-C, ``KeyboardInterrupt`` as ever.
    """
    flow.fn = _ending_cancelled(flow.fn)
    return flow


def _ending_cancelled(function: Callable[P, R]) -> Callable[P, R]:
    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        # Prefect's `serve` pickles this function with all that its body names: so it names nothing but functions
        return _cancellable(function, *args, **kwargs)

    return run


def _cancellable(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.id == _run.get():
        return function(*args, **kwargs)  # called as a function, maybe as part of another flow's run
    given = signature(function).bind(*args, **kwargs)
    given.apply_defaults()
    deployed = _has_worker(context.flow_run)

    def work() -> R:
        if deployed:
            check_parameters(given.arguments)
        result = function(*args, **kwargs)
        check()
        return result

    with (
        steps_untagged(context.flow_run, given.arguments),
        registered(context.flow_run.id),
        _watched(context.flow_run) as token,
        _interruptible(context.flow_run, token),
    ):
        return _concluded(work, token)


def _concluded(work: Callable[[], R], token: Token) -> R:
    """Do the work of a run; return the state of one that does not end by Prefect's own rules."""
    try:
        return work_and_tell(work)
    except CancelledError as error:
        return cast("R", Cancelled(message=str(error)))
    except ContainerFailedError as error:  # whose traceback says nothing about the container
        return cast("R", Failed(message=str(error), data=error))
    except RefusedError as error:  # of a set: a rollout tells it from a failure by the name
        return cast("R", Failed(name=REFUSED, message=str(error), data=error))
    except Exception:
        if token.cancelled:  # one step stopped, and so others failed
            return cast("R", Cancelled(message=token.reason))
        raise


@contextmanager
def _watched(flow_run: FlowRun) -> Iterator[Token]:
    """Yield a run its token, and set that when the run is cancelled at the API, unless its worker sees that."""
    whole = current()
    token, over = Token() if whole is None else whole.part(), threading.Event()
    before = _run.set(flow_run.id)
    try:
        with watched(token):
            if not _has_worker(flow_run):
                look = copy_context().run
                threading.Thread(target=look, args=(_watch, flow_run.id, token, over), daemon=True).start()
            yield token
    finally:
        over.set()
        _run.reset(before)


def _watch(run: UUID, token: Token, over: threading.Event) -> None:
    while not over.wait(_SECONDS):
        with suppress(Exception), get_client(sync_client=True) as client:  # an API that is away will come back
            state = client.read_flow_run(run).state
            if state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED):
                token.cancel("cancelled at the Prefect API")
                return


@contextmanager
def _interruptible(flow_run: FlowRun, token: Token) -> Iterator[None]:
    """End the work when a signal ends the run, and have the run known as cancelled, not as crashed or running."""
    runs = _open_runs.get() or OpenRuns()
    runs.open(flow_run.id)
    try:
        yield
    except (KeyboardInterrupt, TerminationSignal):
        token.cancel(INTERRUPTED)
        if _has_worker(flow_run):
            _leave_soon()
        else:
            with suppress(Exception):  # an API that is away cannot be told
                flow_run.state = _tell(flow_run.id)  # the engine's own object: it tells the API nothing else then
        raise
    finally:
        runs.close(flow_run.id)


class _Interrupted(State[Never]):
    """The state of a run that Ctrl-C ended, in this process: whoever called the flow is interrupted, too."""

    def result(self, *_: object, **__: object) -> NoReturn:
        """Return none."""
        raise KeyboardInterrupt


def _tell(run: UUID) -> State:
    """Report to the API that a run is cancelled, whatever state it is in."""
    state: State = Cancelled(_Interrupted, message=INTERRUPTED)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, state, force=True)
    return state


def _leave_soon() -> None:
    """End this process, which a worker started for this run alone, even if a thread of it still waits for something."""
    timer = threading.Timer(_GRACE, os._exit, (_KILLED,))
    timer.daemon = True
    timer.start()


def _has_worker(flow_run: FlowRun) -> bool:
    """Whether a worker started this process for this run: it tells the process, and the API, of a cancellation."""
    return flow_run.deployment_id is not None
