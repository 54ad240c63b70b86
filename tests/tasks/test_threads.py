"""Threads of a flow: the state of a step that was submitted is known where it runs."""

import threading

import pytest
from prefect import flow, task

from tasks.threads import THREADS


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
