"""The warm process: one for a store, of its user and of the code as it is now; whoever is killed, nothing stays."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from flows.warm import client
from flows.warm.caller import key
from prestow.content.process_identity import start_time
from tests.flows.warm.conftest import MIRROR, Mirror, children, descriptors, put_down, resident, until
from tests.processes import Child

ROUNDS = 200
_SLACK = 512  # KiB that pages of a process may be more than before
_STRANGER = """
import os, socket, sys
folder = os.open(sys.argv[1], os.O_PATH)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as connection:
    try:
        connection.connect(f"/proc/self/fd/{folder}/process.sock")
        print(len(connection.recv(1)))
    except PermissionError:
        print("refused")
"""


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Mirror]:
    """A store without a warm process; the one that comes is ended."""
    yield Mirror(tmp_path / "store")
    put_down(tmp_path / "store")


@pytest.fixture
def served(fresh: Mirror) -> Mirror:
    """A store with one."""
    assert fresh("exit", "0").returncode == 0
    return fresh


def waiting(mirror: Mirror) -> Child[str]:
    """Start a command that ends by SIGTERM, and is there when this returns."""
    process = mirror.start("signals", str(int(signal.SIGTERM)))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_callers_that_are_first_at_once_get_one_process(fresh: Mirror) -> None:
    callers = [fresh.start("exit", "7") for _ in range(3)]

    assert [caller.communicate() and caller.returncode for caller in callers] == [7, 7, 7]
    assert fresh.launched() == [fresh.pid()]


def test_it_ends_by_itself_when_it_was_idle_for_long(fresh: Mirror) -> None:
    assert fresh("exit", "5", env={**os.environ, "PRESTOW_WARM_MINUTES": "0.001"}).returncode == 5

    until(lambda: fresh.launched() == [], "its end")
    assert client.status(fresh.home) is None
    assert [path.name for path in (fresh.home / "warm").iterdir() if "sock" in path.name] == []


def test_where_it_does_not_come_up_the_caller_is_told_at_once(tmp_path: Path) -> None:
    assert client.run(tmp_path / "store", ["exit", "0"], "tests.flows.warm.no_such_program") is None

    assert "No module named tests.flows.warm.no_such_program" in (tmp_path / "store/warm/process.log").read_text()


def test_it_does_not_fork_while_it_has_another_thread(fresh: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_MIRROR_THREAD", "1")

    assert client.run(fresh.home, ["exit", "0"], MIRROR) is None
    assert "cannot fork with these threads" in (fresh.home / "warm" / "process.log").read_text()


def test_a_caller_with_other_settings_gets_a_newer_process_and_the_older_one_ends_its_runs(served: Mirror) -> None:
    older, running = served.pid(), waiting(served)

    done = served("exit", "0", env={**os.environ, "PRESTOW_WARM_MINUTES": "7"})

    assert done.returncode == 0
    newer = client.status(served.home)
    assert newer not in (None, older)
    running.terminate()
    running.communicate()
    assert running.returncode == 0
    until(lambda: start_time(older) is None, "the end of the older process")


def test_another_version_or_another_file_of_settings_is_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, packages = tmp_path / "config.toml", tmp_path / "site-packages"
    settings.write_text("")
    packages.mkdir()
    monkeypatch.setenv("PRESTOW_CONFIG", str(settings))
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages)])
    first = key()
    assert key() == first

    settings.write_text("warm_minutes = 3\n")
    second = key()
    (packages / "prestow-0.2.0.dist-info").mkdir()
    third = key()
    monkeypatch.setattr("prestow.__version__", "0.2.0")

    assert len({first, second, third, key()}) == 4


def test_what_an_interpreter_forgets_after_its_start_is_no_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    for name in ("LANG", "PYTHONUNBUFFERED", "PREFECT_API_URL", "HOME"):
        monkeypatch.setenv(name, "another")

    assert key() == before


def test_another_user_cannot_reach_it_and_gets_no_answer_if_a_door_is_open(served: Mirror) -> None:
    folder, pid = served.home / "warm", served.pid()

    def stranger() -> str:
        command = [sys.executable, "-c", _STRANGER, str(folder)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert stranger() == "refused"
    folder.chmod(0o711)
    (folder / "process.sock").chmod(0o666)
    assert stranger() == "0"
    assert children(pid) == []
    assert served("exit", "3").stderr == "not run\n"  # nor is such a folder used
    folder.chmod(0o700)
    assert served("exit", "3").returncode == 3


@pytest.mark.parametrize("order", [*permutations(("caller", "child", "process"))])
def test_whoever_is_killed_and_then_the_others_nothing_is_left_and_the_next_command_runs(
    served: Mirror, order: tuple[str, ...]
) -> None:
    process = served.pid()
    with waiting(served) as caller:
        pids = {"caller": caller.pid, "child": children(process)[0], "process": process}
        for victim in order:
            try:
                os.kill(pids[victim], signal.SIGKILL)
            except ProcessLookupError:  # it went with the one before
                assert victim != order[0]
        _, said = caller.communicate()

    until(lambda: served.launched() == [], "the end of all")
    assert caller.returncode != 0
    assert caller.returncode == -signal.SIGKILL or "UnavailableError" in said
    assert served("exit", "0").returncode == 0


def test_a_child_that_is_killed_ends_its_caller_likewise_and_no_other(served: Mirror) -> None:
    pid = served.pid()
    with waiting(served) as first:
        (child,) = children(pid)
        with waiting(served) as second:
            os.kill(child, signal.SIGKILL)
            first.communicate()
            second.terminate()
            second.communicate()

    assert (first.returncode, second.returncode) == (-signal.SIGKILL, 0)
    assert served.pid() == pid


@pytest.mark.long
def test_many_runs_leave_no_memory_no_files_and_no_processes(served: Mirror, capfd: pytest.CaptureFixture[str]) -> None:
    def run(times: int) -> None:
        for _ in range(times):
            assert client.run(served.home, ["show"], MIRROR) == 0
        capfd.readouterr()

    run(20)
    pid = served.pid()
    before = descriptors(pid), descriptors(os.getpid()), resident(pid)

    run(ROUNDS)

    assert served.pid() == pid
    assert (descriptors(pid), descriptors(os.getpid())) == before[:2]
    assert resident(pid) - before[2] < _SLACK
    assert served.launched() == [pid]
