"""One server a store: started by whoever comes first, found by the next, replaced when it died, stopped on request."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.local_server import ensure as local_server
from flows.local_server.ensure import Server, begin, ensure, environment, status, stop
from flows.local_server.record import Record, living
from prestow.content.process_identity import Process, start_time
from prestow.errors import PreconditionError, UnavailableError
from tests.prefect_records import until
from tests.server_logs import check_log, complaints

PROJECT = Path(__file__).parents[3]
PROGRAM = "import sys; from pathlib import Path; from flows.local_server.ensure import ensure; s = ensure(Path({!r})); "


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Yield a store whose server, if there is one at the end, is stopped."""
    yield tmp_path
    stop(tmp_path)


@pytest.mark.long
def test_processes_that_ask_at_once_get_one_server_that_is_replaced_when_it_dies(home: Path) -> None:
    command = [sys.executable, "-c", PROGRAM.format(str(home)) + "print(s.pid, s.url)"]
    askers = [subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {asker.communicate()[0] for asker in askers}
    server = status(home)
    assert server is not None
    assert answers == {f"{server.pid} {server.url}\n"}
    assert ensure(home) == server

    os.kill(server.pid, signal.SIGKILL)
    check_log(home)
    log = home / "prefect" / "server.log"
    log.write_bytes(b"x" * (local_server._LOG_LIMIT + 1))
    other = ensure(home)
    assert other.pid != server.pid
    assert (home / "prefect" / "server.log.1").stat().st_size > local_server._LOG_LIMIT > log.stat().st_size

    assert stop(home)
    assert (status(home), stop(home), start_time(other.pid)) == (None, False, None)


@pytest.mark.long
def test_a_server_that_was_begun_is_found_and_replaced_when_it_hangs(home: Path) -> None:
    begin(home)
    begin(home)
    server = ensure(home)
    begin(home)
    assert ensure(home) == server

    os.kill(server.pid, signal.SIGSTOP)
    assert ensure(home, silence=0.0).pid != server.pid
    assert start_time(server.pid) is None


@pytest.mark.long
def test_a_server_that_nobody_needs_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_SERVER_IDLE_HOURS", "0.0001")
    begin(home)
    first = until(lambda: [found for found in [Record.read(home / "prefect")] if found is not None], 1, "a record")[0]
    _, status_of_child = os.waitpid(first.process.pid, 0)

    assert os.waitstatus_to_exitcode(status_of_child) == 0
    assert Record.read(home / "prefect") == replace(first, ready=True)
    assert (home / "prefect" / "server.log").read_text() == ""


def test_a_record_of_another_process_with_the_same_pid_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir(0o700)
    me = Process.current()
    for process in (Process(me.boot_id, me.pid, me.started - 1), Process("another", me.pid, me.started)):
        Record(1, "x", process, ready=True).write(tmp_path / "prefect")
        assert (status(tmp_path), living(tmp_path), stop(tmp_path)) == (None, None, False)


def test_a_server_that_does_not_serve_yet_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir(0o700)
    record = Record(1, "x", Process.current(), ready=False)
    record.write(tmp_path / "prefect")

    assert living(tmp_path) == record
    assert status(tmp_path) is None
    assert (tmp_path / "prefect" / "server.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"pid": "x", "boot": 1, "started": 1}', '{"pid": 0, "boot": "", "started": null}']
)
def test_a_broken_record_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "prefect").mkdir(0o700)
    (tmp_path / "prefect" / "server.json").write_text(text)
    assert status(tmp_path) is None
    assert stop(tmp_path) is False


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect").chmod(0o777)
    with pytest.raises(PreconditionError, match="others may write"):
        ensure(tmp_path)


@pytest.mark.long
def test_a_server_that_cannot_start_is_reported_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir(0o700)
    (tmp_path / "prefect" / "prefect.db").write_text("not a database" * 100)
    with pytest.raises(UnavailableError, match=r"server\.log"):
        ensure(tmp_path)
    log = tmp_path / "prefect" / "server.log"
    why, what = complaints(log.read_text())
    assert "sqlite3.DatabaseError: file is not a database" in why
    assert what == "ERROR:    Application startup failed. Exiting."
    log.unlink()


def test_a_client_learns_url_password_and_folder(tmp_path: Path) -> None:
    assert environment(Server("http://127.0.0.1:1/api", 2, "a:b", tmp_path)) == {
        "PREFECT_API_URL": "http://127.0.0.1:1/api",
        "PREFECT_API_AUTH_STRING": "a:b",
        "PREFECT_UI_URL": "http://127.0.0.1:1",
        "PREFECT_HOME": str(tmp_path),
    }


def test_looking_for_a_server_imports_neither_prefect_nor_an_http_client() -> None:
    program = (
        "import sys, flows.local_server.ensure; print({'prefect', 'httpx', 'http.client', 'ssl'} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True, capture_output=True, text=True)
    assert output.stdout.strip() == "set()"


FULL = """
import subprocess, sys
from pathlib import Path
from flows.local_server.ensure import ensure
from prestow.errors import ExhaustedError
disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
try:
    ensure(disk / "store")
except ExhaustedError as error:
    print(error)
"""


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_a_server_for_which_the_disk_is_too_full_says_so(tmp_path: Path) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "KiB free; free some space" in done.stdout
