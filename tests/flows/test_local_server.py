"""One server a store: started by whoever comes first, found by the next, replaced when it died, stopped on request."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from websockets import ConnectionClosedError, Subprotocol
from websockets.sync.client import connect as websocket

from flows.local_server import ensure as local_server
from flows.local_server.ensure import Server, ensure, environment, status, stop
from flows.local_server.launcher import begin_immediately, retry_soon, settings
from prestow.content.boot import start_time
from prestow.errors import PreconditionError, UnavailableError

OPEN = ("/health", "/ready")
UUID = "00000000-0000-4000-8000-000000000000"
PROJECT = Path(__file__).parents[2]
PROGRAM = "import sys; from pathlib import Path; from flows.local_server.ensure import ensure; s = ensure(Path({!r})); "


@pytest.fixture
def home(tmp_path: Path, prefect_template: Path) -> Iterator[Path]:
    """Give a store whose server, if there is one at the end, is stopped."""
    (tmp_path / "prefect").mkdir(0o700)
    (tmp_path / "prefect" / "prefect.db").write_bytes(prefect_template.read_bytes())
    yield tmp_path
    stop(tmp_path)


def test_processes_that_ask_at_once_get_one_server_that_is_replaced_when_it_dies(home: Path) -> None:
    command = [sys.executable, "-c", PROGRAM.format(str(home)) + "print(s.pid, s.url)"]
    askers = [subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {asker.communicate()[0] for asker in askers}
    server = status(home)
    assert server is not None
    assert answers == {f"{server.pid} {server.url}\n"}
    assert ensure(home) == server

    os.kill(server.pid, signal.SIGKILL)
    log = home / "prefect" / "server.log"
    log.write_bytes(b"x" * (local_server._LOG_LIMIT + 1))
    other = ensure(home)
    assert other.pid != server.pid
    assert (home / "prefect" / "server.log.1").stat().st_size > local_server._LOG_LIMIT > log.stat().st_size

    assert stop(home)
    assert (status(home), stop(home), start_time(other.pid)) == (None, False, None)


def test_the_api_wants_the_password_that_only_the_owner_can_read(prefect_server: Server) -> None:
    url = f"{prefect_server.url}/flows/count"
    with pytest.raises(HTTPError, match="401"):
        _ask("POST", url, None)
    assert _ask("POST", url, prefect_server.auth) >= 0
    for file in ("server.json", "server.log", "server.lock", "."):
        assert (prefect_server.directory / file).stat().st_mode & 0o077 == 0
    assert prefect_server.auth not in repr(prefect_server)
    assert prefect_server.auth.encode() not in Path(f"/proc/{prefect_server.pid}/cmdline").read_bytes()


def test_no_route_answers_without_the_password_except_those_for_health(prefect_server: Server) -> None:
    routes = _ask("GET", f"{prefect_server.url}/openapi.json", prefect_server.auth)["paths"]
    answers = {}
    for route, methods in routes.items():
        url = prefect_server.url + re.sub(r"{[^}]*}", UUID, route)
        for method in methods:
            with pytest.raises(HTTPError) if route not in OPEN else nullcontext() as refused:
                _ask(method.upper(), url, None)
            answers[method, route] = refused.value.code if refused else 200

    assert len(answers) > 100
    assert set(answers.values()) == {401, 200}


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out"])
def test_no_websocket_stays_open_without_the_password(prefect_server: Server, path: str) -> None:
    url = f"ws{prefect_server.url.removeprefix('http')}/{path}"
    with websocket(url, subprotocols=[Subprotocol("prefect")]) as connection:
        connection.send(json.dumps({"type": "auth", "token": "admin:admin"}))
        with pytest.raises(ConnectionClosedError, match="1008"):
            connection.recv(timeout=10)


def test_the_server_answers_on_the_loopback_only_and_keeps_nothing_of_ours(prefect_server: Server) -> None:
    port = int(prefect_server.url.split(":")[2].split("/")[0])
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "0A"]
    assert [address for address in listening if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]
    assert Path(f"/proc/{prefect_server.pid}/cwd").readlink() == Path("/")
    assert os.getsid(prefect_server.pid) == prefect_server.pid


def test_a_record_of_another_process_with_the_same_pid_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir(0o700)
    record = {"port": 1, "pid": os.getpid(), "start": 0, "auth": "x"}
    (tmp_path / "prefect" / "server.json").write_text(json.dumps(record))
    assert status(tmp_path) is None
    assert stop(tmp_path) is False


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"pid": "x", "start": 1, "port": 2}', '{"pid": 0, "start": null}']
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


def test_a_server_that_cannot_start_is_reported_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir(0o700)
    (tmp_path / "prefect" / "prefect.db").write_text("not a database" * 100)
    with pytest.raises(UnavailableError, match=r"server\.log"):
        ensure(tmp_path)
    assert "not a database" in (tmp_path / "prefect" / "server.log").read_text()


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


def test_every_setting_of_the_server_is_one_that_prefect_knows(tmp_path: Path) -> None:
    from prefect.settings import Settings  # noqa: PLC0415 - slow, for this test alone

    known = {name.upper() for name in _environment_names(Settings)}
    ours = {name for name in settings(tmp_path, port=1, auth="a:b") if name.startswith("PREFECT_")}
    assert ours - known == set()


def test_prefect_still_has_the_names_that_the_launcher_relies_on() -> None:
    from prefect.server.database.configurations import AioSqliteConfiguration  # noqa: PLC0415 - as above

    before = AioSqliteConfiguration.begin_transaction
    try:
        begin_immediately()
        assert AioSqliteConfiguration.begin_transaction is not before
    finally:
        AioSqliteConfiguration.begin_transaction = before  # type: ignore[method-assign]


@pytest.mark.parametrize(("code", "added"), [(503, [(b"retry-after", b"0.05")]), (500, []), (200, [])])
def test_only_a_busy_reply_says_when_to_come_back(code: int, added: list[Any]) -> None:
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": code, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    coroutine: Any = retry_soon(application)({}, None, send)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert sent[0]["headers"] == [(b"a", b"b"), *added]
    assert sent[1]["type"] == "http.response.body"


def _ask(method: str, url: str, auth: str | None) -> Any:
    body = None if method == "GET" else b"{}"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    if auth is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(auth.encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read())


def _environment_names(model: Any) -> Iterator[str]:
    """Give the names of all environment variables of a settings model and the models in it."""
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        yield from (c for c in getattr(alias, "choices", ()) if isinstance(c, str))
        yield f"{model.model_config.get('env_prefix', '')}{name}"
        if hasattr(field.annotation, "model_fields"):
            yield from _environment_names(field.annotation)
