"""The local server looks for work seldom, and still does it."""

import asyncio
import inspect
import os
import signal
import socket
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import docket
import pytest
import uvicorn

from flows.local_server import polling


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> type[docket.Worker]:
    """The worker that Prefect's server then uses."""
    from prefect.server.api import background_workers
    from prefect.server.events import triggers

    monkeypatch.setattr(background_workers, "Worker", docket.Worker)
    monkeypatch.setattr(triggers, "consumer", triggers.consumer)
    polling.poll_seldom()
    return background_workers.Worker  # type: ignore[attr-defined]


def test_prefect_still_has_the_names_that_polling_relies_on(seldom: type[docket.Worker]) -> None:
    from prefect.server.events import triggers
    from prefect.server.events.services.triggers import ReactiveTriggers

    assert version("pydocket").startswith(polling._DOCKET)
    assert seldom is polling._DeafWorker
    assert hasattr(docket.Worker, "_cancellation_listener")
    assert inspect.getsource(ReactiveTriggers.start).count("triggers.consumer()") == 1
    assert "periodic_granularity" in inspect.signature(triggers.evaluate_periodically).parameters
    assert inspect.signature(triggers.consumer).parameters["periodic_granularity"].default == polling._SWEEP


def test_a_task_that_is_due_is_done_and_the_worker_ends(seldom: type[docket.Worker]) -> None:
    done: list[str] = []

    async def note(what: str) -> None:
        done.append(what)

    async def main() -> None:
        async with docket.Docket("test", "memory://") as tasks, seldom(tasks) as worker:
            tasks.register(note)
            soon = docket.docket.datetime.now(docket.docket.timezone.utc) + timedelta(milliseconds=1)
            await tasks.add(note)("at once")
            await tasks.add(note, when=soon)("later")
            await worker.run_until_finished()

    asyncio.run(main())

    assert done == ["at once", "later"]


def test_a_server_ends_by_a_signal_that_comes_while_it_waits() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError(scope)

    class Signalled(polling.PatientServer):
        async def on_tick(self, counter: int) -> bool:
            if counter == 0:
                asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
            return await super().on_tick(counter)

    server = Signalled(uvicorn.Config(application, lifespan="off", log_level="warning"))
    caught: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.run(sockets=[listener])
    signal.signal(signal.SIGTERM, before)

    assert caught == [signal.SIGTERM]  # uvicorn raises it again when it has ended
    assert server.started
