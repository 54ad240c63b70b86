"""Containers that somebody ends: by a signal, by cancelling their run, from another thread."""

import os
import signal
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from prestow.errors import AlreadyExistsError, CancelledError
from prestow.runtime.runc import Exit, run_container
from prestow.runtime.state import stop_container
from tests.runtime.containers import WAIT, Background, Box


def test_a_container_in_a_thread_is_asked_to_stop(box: Box) -> None:
    running = Background(box, WAIT)
    found = box.state()
    assert found is not None
    assert found.status == "running"
    assert found.alive

    stop_container(box.runtime, box.container_id, state_root=box.state_root)

    assert running.result() == Exit(3, ("ready",))
    assert box.state() is None


def test_a_container_that_does_not_listen_is_killed_when_the_grace_is_over(box: Box) -> None:
    running = Background(box, "trap '' TERM INT; echo ready; sleep 1000 & wait")

    stop_container(box.runtime, box.container_id, state_root=box.state_root, signal="SIGINT", grace_seconds=0)

    assert running.result() == Exit(137, ("ready",))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("SIGUSR1", 10), ("usr1", 10), ("10", 10), ("SIGRTMIN+3", 37), ("rtmin+3", 37), ("RTMAX-1", 63)),
        ("37", 37),
    ],
)
def test_a_container_is_asked_by_any_name_of_a_signal(box: Box, name: str, number: int) -> None:
    running = Background(box, f"trap 'exit 9' {number}; echo ready; sleep 1000 & wait")

    stop_container(box.runtime, box.container_id, state_root=box.state_root, signal=name)

    assert running.result().status == 9  # type: ignore[union-attr]
    stop_container(box.runtime, box.container_id, state_root=box.state_root)


@pytest.mark.parametrize("name", ["SIGRTMIN+3", "RTMAX-1", "64", "nonsense", "SIGNONE", "99"])
def test_whatever_the_signal_is_a_container_is_ended(box: Box, name: str) -> None:
    running = Background(box, "trap '' TERM 37 63 64; echo ready; sleep 1000 & wait")

    stop_container(box.runtime, box.container_id, state_root=box.state_root, signal=name, grace_seconds=0)

    assert running.result() == Exit(137, ("ready",))


def test_a_paused_container_is_ended(box: Box) -> None:
    running = Background(box, WAIT)
    subprocess.run(["runc", "--root", box.state_root, "pause", box.container_id], check=True)

    stop_container(box.runtime, box.container_id, state_root=box.state_root)

    assert running.result().status == 3  # type: ignore[union-attr]


def test_a_cancelled_run_lets_the_container_end_by_the_images_own_signal_and_say_so(box: Box) -> None:
    script = "trap 'head -c 200000 /dev/zero; echo bye; exit 0' USR1; echo ready; sleep 1000 & wait"
    running = Background(box, script, {"StopSignal": "SIGUSR1"})

    running.token.cancel("enough")

    assert isinstance(running.result(), CancelledError)
    assert running.said().endswith(b"bye\n")
    assert box.leftovers() == []


def test_a_cancelled_run_kills_a_container_that_says_nothing_and_does_not_listen(box: Box) -> None:
    running = Background(box, "trap '' TERM; echo ready; sleep 1000 & wait; wait")

    running.token.cancel("enough")

    assert isinstance(running.result(), CancelledError)
    assert box.leftovers() == []


def test_a_signal_to_whoever_captures_the_output_is_theirs(box: Box) -> None:
    """A worker sends SIGTERM when a run is cancelled; a container whose first process has no handler never sees it."""
    before = signal.signal(signal.SIGUSR2, interrupted)
    try:
        box.bundle(["sh", "-c", WAIT])
        with pytest.raises(InterruptedError):
            run_container(
                box.runtime, box.directory, box.container_id, state_root=box.state_root,
                output=lambda *_: os.kill(os.getpid(), signal.SIGUSR2),
            )  # fmt: skip
    finally:
        signal.signal(signal.SIGUSR2, before)

    assert box.leftovers() == []


def interrupted(*_: object) -> NoReturn:
    raise InterruptedError


def test_an_id_runs_once_at_a_time(box: Box, tmp_path: Path) -> None:
    running = Background(box, WAIT)
    (tmp_path / "other").mkdir()
    other = Box(tmp_path / "other")
    other.container_id, other.state_root = box.container_id, box.state_root

    with pytest.raises(AlreadyExistsError, match="being run"):
        run_container(box.runtime, box.directory, box.container_id, state_root=box.state_root)
    with pytest.raises(AlreadyExistsError, match="is running"):
        other.run("id")

    stop_container(box.runtime, box.container_id, state_root=box.state_root)
    assert running.result() == Exit(3, ("ready",))


def test_an_exception_of_the_caller_ends_the_container(box: Box) -> None:
    def stop(*_: object) -> None:
        raise ZeroDivisionError

    box.bundle(["sh", "-c", WAIT])
    with pytest.raises(ZeroDivisionError):
        run_container(box.runtime, box.directory, box.container_id, state_root=box.state_root, output=stop)

    assert box.leftovers() == []


def test_a_killed_caller_leaves_a_container_that_is_named_and_can_be_stopped(box: Box) -> None:
    box.bundle(["sh", "-c", WAIT])
    with box.start(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        process.wait()

        with pytest.raises(AlreadyExistsError, match="it is running"):
            run_container(box.runtime, box.directory, box.container_id, state_root=box.state_root)
        stop_container(box.runtime, box.container_id, state_root=box.state_root)
        assert process.stdout.read() == b""

    assert box.run("sh", "-c", "echo again") == "again\n"
