"""Threads of a flow: the state of a step is known where it runs, and a signal is obeyed while one is waited for."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cloudpickle
import pytest
from prefect import flow, task

from prestow.errors import UnavailableError
from tasks.policy import NOWHERE, step
from tasks.threads import PARALLEL_STEPS, THREADS, waited


@pytest.mark.usefixtures("prefect_server")
def test_the_state_of_a_step_is_known_without_asking_the_api() -> None:
    go = threading.Event()

    @task(persist_result=False)
    def wait() -> int:
        go.wait()
        return 3

    @task(persist_result=False)
    def fail() -> None:
        raise ValueError("of the step")

    @flow(task_runner=THREADS, persist_result=False)
    def run() -> tuple[bool, bool, bool, int]:
        waiting, failing = wait.submit(), fail.submit()
        before = waiting.state.is_pending()  # the API would call it running, or not know it
        go.set()
        result = waiting.result()
        failing.wait()
        return before, waiting.state.is_completed(), failing.state.is_failed(), result

    assert run() == (True, True, True, 3)


ATTEMPTS: list[int] = []


@step(lambda number: f"refused {number}", version=1)
def refused(_home: str, number: int) -> int:
    """A step whose first attempt is told to wait for a while."""
    ATTEMPTS.append(number)
    if ATTEMPTS.count(number) == 1:
        raise UnavailableError("registry.example asked for 5 s", retry_after=5)
    return number


@step(lambda: "free", version=1)
def free(_home: str) -> int:
    """A step that tells how often the others have been tried by now."""
    return len(ATTEMPTS)


@pytest.mark.usefixtures("prefect_server")
def test_steps_that_wait_for_a_registry_keep_no_other_step_from_running(tmp_path: Path) -> None:
    home = str(tmp_path)
    ATTEMPTS.clear()

    @flow(task_runner=THREADS, persist_result=False, result_storage=NOWHERE)
    def run() -> int:
        waiting = [refused.submit(home, number) for number in range(PARALLEL_STEPS)]
        seen = free.submit(home).result()
        assert [each.result() for each in waiting] == [*range(PARALLEL_STEPS)]
        return seen

    assert run() <= PARALLEL_STEPS
    assert len(ATTEMPTS) == 2 * PARALLEL_STEPS


def test_a_flow_with_these_threads_can_be_pickled_as_one_that_is_served_is() -> None:
    assert cloudpickle.loads(cloudpickle.dumps(THREADS)).duplicate() is not THREADS


class CaughtError(Exception):
    """The handler of a signal has run."""


@pytest.fixture
def unheard() -> Iterator[None]:
    """Let SIGUSR1 be delivered to any thread but this one, in whose place its handler runs."""

    def handle(_number: int, _frame: object) -> None:
        raise CaughtError

    before = signal.signal(signal.SIGUSR1, handle)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    signal.signal(signal.SIGUSR1, before)


def test_what_the_work_gave_or_raised_comes_out() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert waited(pool.submit(lambda: 7)) == 7
        with pytest.raises(ZeroDivisionError):
            waited(pool.submit(lambda: 1 // 0))


@pytest.mark.usefixtures("unheard")
def test_a_signal_that_another_thread_got_ends_the_wait() -> None:
    never: Future[None] = Future()

    def kill() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        os.kill(os.getpid(), signal.SIGUSR1)

    threading.Timer(0.05, kill).start()

    with pytest.raises(CaughtError):
        waited(never)
