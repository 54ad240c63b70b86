"""A test fails if a Prefect server that it started complained: nobody else reads its log. For ``conftest.py``.

Servers write to ``prefect/server.log`` of their stores. All such logs below the ``tmp_path`` of a test are read when
its body has ended, so before what its fixtures stop interrupts anything; those below other folders of the session, at
its end. The server that all tests share is read by ``tests.prefect_harness``.

A test that makes its server complain looks itself at what it complains of (:func:`complaints`), and removes the log.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

SHARED = "prefect-home"
"""The store of the server that all tests share."""

_ENTRY = re.compile(r"^(?=\d\d:\d\d:\d\d\.\d{3} \| |(?:DEBUG|INFO|WARNING|ERROR|CRITICAL): )", re.MULTILINE)
_COMPLAINT = re.compile(r"\b(ERROR|CRITICAL|Traceback)\b")
_RAISED = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)*(\S.*)$", re.MULTILINE)
_PEER_GONE = re.compile(
    r"(starlette\.websockets\.WebSocketDisconnect(ed)?|uvicorn\.protocols\.utils\.ClientDisconnected)(:|$)"
)
_PUT_BACK = re.compile(r"Error flushing (\d+) events \(\1 to retry, 0 dropped\)")
_WORKER_CHANNEL = re.compile(r"WorkerChannelConnection\._(receive|send)_loop|in worker_channel_connect$", re.MULTILINE)


def complaints(log: str) -> list[str]:
    """Return the entries of a server's log that tell of a fault, each with its traceback."""
    entries = (entry.strip() for entry in _ENTRY.split(log))
    return [entry for entry in entries if _COMPLAINT.search(entry) and not (_lost_worker(entry) or _restored(entry))]


def check_log(home: Path) -> None:
    """Fail if the server of a store complained of anything."""
    found = [complaint for log in _of(home) for complaint in _complaints_of(log)]
    assert not found, "\n".join(found)


def _lost_worker(entry: str) -> bool:
    """Whether it tells only that a worker ended while its channel was opened.

    Prefect takes ``WebSocketDisconnect`` for the normal end of a channel, and not ``WebSocketDisconnected``, which
    Starlette raises in the task that receives, once the one that sends has found that the peer is gone
    (``NORMAL_DISCONNECT_EXCEPTIONS`` in prefect/server/utilities/subscriptions.py). So it says "Worker channel setup
    failed due to a transient server error", fails to close the channel, or leaves the exception to asyncio. All that
    is lost is the channel, as it should be.
    """
    raised = _RAISED.findall(entry)
    return bool(_WORKER_CHANNEL.search(entry) and raised) and all(_PEER_GONE.match(error) for error in raised)


def _restored(entry: str) -> bool:
    """Whether it tells only that the server's end interrupted a write of events, which it then began again.

    Prefect cancels the write, puts its events back, and writes all that there are before it ends
    (``consumer`` in prefect/server/services/task_run_recorder.py).
    """
    return bool(_PUT_BACK.search(entry)) and _RAISED.findall(entry) == ["asyncio.exceptions.CancelledError"]


def _of(home: Path) -> Iterator[Path]:
    yield from sorted((home / "prefect").glob("server.log*"))


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the logs of the stores that are a folder, or stand in it, or ``depth`` times deeper."""
    with suppress(OSError):  # some tests take a disk away
        yield from _of(folder)
        if depth:
            for entry in os.scandir(folder):
                if entry.is_dir(follow_symlinks=False) and entry.name != SHARED:
                    yield from _below(Path(entry), depth - 1)


def _complaints_of(log: Path) -> list[str]:
    return [f"{log} complains:\n{complaint}" for complaint in complaints(log.read_text("utf-8", "replace"))]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Read what the servers of a test wrote, and fail it once it is torn down."""
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    found = [] if folder is None else [each for log in _below(folder, 2) for each in _complaints_of(log)]
    yield
    if found:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def logs_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Read what other servers wrote, those of fixtures that several tests share."""
    yield
    found = [each for log in _below(tmp_path_factory.getbasetemp(), 3) for each in _complaints_of(log)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)
