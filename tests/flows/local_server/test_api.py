"""What the local server lets nobody do who does not know its password."""

import base64
import json
import os
import re
import urllib.request
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from websockets import ConnectionClosedError, Subprotocol
from websockets.sync.client import connect as websocket

from flows.local_server.record import Server

OPEN = ("/health", "/ready")
UUID = "00000000-0000-4000-8000-000000000000"


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


def _ask(method: str, url: str, auth: str | None) -> Any:
    body = None if method == "GET" else b"{}"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    if auth is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(auth.encode()).decode())
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.loads(reply.read())
