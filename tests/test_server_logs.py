"""A server's complaint fails the test that started it; that a worker was lost, or the end came, is none."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.server_logs import complaints

ROOT = Path(__file__).parents[1]
GONE = 'starlette.websockets.WebSocketDisconnected: WebSocket is not connected. Need to call "accept" first.'
AT = '  File "/x/prefect/server/api/workers.py", line 1164, in worker_channel_connect\n    await connection.run()\n'
TRACE = f"Traceback (most recent call last):\n{AT}"
CONTEXT = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
SETUP = (
    "09:08:41.938 | ERROR   | prefect.server.api.workers - Worker channel setup failed due to a transient server error"
)
TASK = (
    "09:08:41.672 | ERROR   | asyncio - Task exception was never retrieved\nfuture: <Task finished name='Task-1' coro="
)
LOOP = "<WorkerChannelConnection._receive_loop() done, defined at /x/prefect/server/utilities/worker_channel.py:658>\n"
SENT = 'starlette.websockets.WebSocketDisconnected: Cannot call "send" once a close message has been sent.'
WARNING = (
    "09:08:44.297 | WARNING | prefect.server.utilities.subscriptions - WebSocket connection closed: Invalid token."
)
LOST = {
    "setup": f"{SETUP}: work_pool=prestow\n{TRACE}{GONE}",
    "receiving": f"{TASK}{LOOP}Traceback (most recent call last):\n    x\n{GONE}",
    "sending": f"{TASK}{LOOP}{TRACE}uvicorn.protocols.utils.ClientDisconnected{CONTEXT}{TRACE}"
    "starlette.websockets.WebSocketDisconnect",
    "closing": f"ERROR:    Exception in ASGI application\n{TRACE}{GONE}{CONTEXT}{TRACE}{SENT}",
}
FLUSH = "13:40:17.809 | ERROR   | prefect.server.services.task_run_recorder - Error flushing 39 events"
INTERRUPTED = f"{FLUSH} (39 to retry, 0 dropped)\n{TRACE}asyncio.exceptions.CancelledError"
FAULTS = {
    "dropped events": f"{FLUSH} (38 to retry, 1 dropped)\n{TRACE}asyncio.exceptions.CancelledError",
    "a write that failed": f"{FLUSH} (39 to retry, 0 dropped)\n{TRACE}sqlite3.OperationalError: locked",
    "another error": f"{SETUP}: work_pool=prestow\n{TRACE}sqlalchemy.exc.OperationalError: database is locked",
    "one of two errors": f"{SETUP}\n{TRACE}sqlite3.OperationalError: locked{CONTEXT}{TRACE}{GONE}",
    "another channel": f"09:08:41.938 | ERROR   | prefect.server.events - x\n{TRACE.replace('worker', 'event')}{GONE}",
    "no traceback": f"{SETUP}: work_pool=prestow",
    "an error at the start": f"ERROR:    {TRACE}sqlite3.DatabaseError: file is not a database",
    "a line": "09:08:41.938 | CRITICAL | prefect - x",
    "a bare traceback": "Traceback (most recent call last):\n    x\nOSError: x",
    "race": f"09:08:41.938 | ERROR   | x\n{TRACE}AssertionError: Trigger._automation has been garbage collected",
}


@pytest.mark.parametrize("how", LOST)
def test_that_a_worker_is_gone_is_no_complaint(how: str) -> None:
    assert complaints(f"{WARNING}\n{LOST[how]}\n{WARNING}\n") == []


def test_that_the_end_interrupted_a_write_which_it_begins_again_is_no_complaint() -> None:
    assert complaints(f"{WARNING}\n{INTERRUPTED}\n{WARNING}\n") == []


@pytest.mark.parametrize("kind", FAULTS)
def test_all_else_is_one_also_beside_a_lost_worker(kind: str) -> None:
    (found,) = complaints("\n".join([WARNING, *LOST.values(), FAULTS[kind], WARNING]))

    assert found.endswith(FAULTS[kind])


COMPLAINING = """
import pytest

def complain(home):
    (home / "prefect").mkdir(parents=True)
    (home / "prefect" / "server.log").write_text("ERROR:    of " + home.name)

@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    complain(tmp_path_factory.mktemp("x") / "shared")

@pytest.fixture
def store(tmp_path):
    yield tmp_path / "store"
    complain(tmp_path / "interrupted")

def test_deep(store):
    complain(store / "deep")

def test_own(tmp_path):
    complain(tmp_path)

def test_shared(shared, store):
    complain(store)
    (store / "prefect" / "server.log").unlink()
"""


def test_a_session_fails_by_what_its_servers_complain_of(tmp_path: Path) -> None:
    place = tmp_path / "deeper" / "than" / "this session looks"
    place.mkdir(parents=True)
    (place / "test_it.py").write_text(COMPLAINING)
    command = [sys.executable, "-m", "pytest", "-p", "tests.server_logs", "-c", "/dev/null", "-q", "--basetemp=base"]

    done = subprocess.run([*command, "test_it.py"], cwd=place, env={"PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, check=False)  # fmt: skip

    assert "3 passed, 3 errors" in done.stdout, done
    assert [f"ERROR:    of {name}" in done.stdout for name in ("deep", "test_own0", "shared")] == [True] * 3
