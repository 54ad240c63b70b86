"""A command in the warm process is as if it ran where it was typed."""

import json
import os
import pty
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.flows.warm.conftest import PROJECT, Mirror, children


def shown(mirror: Mirror, **options: Any) -> dict[str, Any]:
    done = mirror("show", **options)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_it_runs_in_a_child_of_the_process(mirror: Mirror) -> None:
    first, second = shown(mirror), shown(mirror)

    assert first["pid"] != second["pid"]
    assert first["open"] == [0, 1, 2]
    assert first["leader"]


def test_it_has_the_callers_environment_and_nothing_else(mirror: Mirror, tmp_path: Path) -> None:
    read_at_start = ("PYTHON", "LC_", "LANG", "LD_", "PREFECT_", "PRESTOW_")
    environment = {name: value for name, value in os.environ.items() if name.startswith(read_at_start)}
    environment |= {"PATH": os.environ["PATH"], "ODD": "a\nb\udcff"}

    found = shown(mirror, env=environment)["environment"]

    found.pop("LC_CTYPE", None)  # the interpreter sets it where there is no other
    assert found == {**environment, "PYTHONPATH": str(PROJECT)}


def test_it_has_the_callers_directory_umask_limits_and_priority(mirror: Mirror, tmp_path: Path) -> None:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2

    found = shown(mirror, prefix=("prlimit", f"--nofile={files}", "nice", "-n", "3"), cwd=tmp_path, umask=0o027)

    assert found["directory"] == str(tmp_path)
    assert found["umask"] == 0o027
    assert found["files"] == [files, files]
    assert found["nice"] == os.getpriority(os.PRIO_PROCESS, 0) + 3


def test_signals_that_the_caller_ignores_are_ignored(mirror: Mirror) -> None:
    assert signal.SIGHUP in shown(mirror, prefix=("nohup",))["ignored"]
    assert signal.SIGHUP not in shown(mirror)["ignored"]


def test_it_reads_and_writes_the_callers_streams(mirror: Mirror) -> None:
    text = "line äöü\n" * 100_000

    done = mirror("copy", input=text)

    assert (done.returncode, done.stdout, done.stderr) == (0, text, "done\n")


@pytest.mark.parametrize("status", [0, 1, 3, 130, 255])
def test_its_exit_status_is_the_callers(mirror: Mirror, status: int) -> None:
    assert mirror("exit", str(status)).returncode == status


def test_an_error_of_the_program_is_shown_as_ever(mirror: Mirror) -> None:
    done = mirror("raise")

    assert done.returncode == 1
    assert done.stderr.startswith("Traceback ")
    assert done.stderr.endswith("ValueError: an error of the program\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_that_ends_it_ends_the_caller(mirror: Mirror, number: signal.Signals) -> None:
    assert mirror("ended", str(int(number))).returncode == -number


def test_signals_reach_it(mirror: Mirror) -> None:
    numbers = [signal.SIGUSR1, signal.SIGWINCH, signal.SIGHUP, signal.SIGINT, signal.SIGTERM]

    with mirror.start("signals", *(str(int(n)) for n in numbers)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in numbers:
            process.send_signal(number)
            assert process.stdout.readline() == f"{number.name}\n"

    assert process.returncode == 0


def test_control_c_reaches_it_through_a_terminal(mirror: Mirror) -> None:
    ours, theirs = pty.openpty()

    def lead() -> None:
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))  # becomes the controlling terminal

    options: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    process = mirror.start("signals", str(int(signal.SIGINT)), preexec_fn=lead, **options)
    os.close(theirs)
    assert _until(ours, b"ready")
    os.write(ours, b"\x03")

    assert _until(ours, b"SIGINT")
    assert process.wait() == 0
    os.close(ours)


def test_a_paused_caller_pauses_it(mirror: Mirror) -> None:
    with mirror.start("signals", str(int(signal.SIGTERM))) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (child,) = children(mirror.pid(runs=1))

        process.send_signal(signal.SIGTSTP)
        os.waitpid(process.pid, os.WUNTRACED)
        paused = _becomes(child, "T")
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read()

    assert (paused, said, process.returncode) == (True, "SIGTERM\n", 0)


def test_a_closed_output_ends_it_as_ever(mirror: Mirror) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = mirror("show", stdout=writing)

    os.close(writing)
    assert "BrokenPipeError" in done.stderr


def _until(terminal: int, text: bytes) -> bool:
    seen = b""
    while text not in seen:
        seen += os.read(terminal, 1024)
    return True


def _becomes(pid: int, state: str) -> bool:
    """Wait until the kernel gives a process that state, at most for ten seconds."""
    deadline = time.monotonic() + 10
    while (reached := Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != state:
        if time.monotonic() > deadline:
            break
        os.sched_yield()
    return reached == state
