"""A page of another origin reads nothing from the local server, though a browser on this machine can reach it."""

import urllib.request
from urllib.error import HTTPError

import pytest

from flows.local_server.record import Server


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_only_its_own_pages_may_ask_it(prefect_server: Server, method: str) -> None:
    own = prefect_server.url.removesuffix("/api")

    allowed = [asked(prefect_server, method, origin) for origin in (own, "http://evil.example", "null")]

    assert allowed == [own, None, None]


def asked(server: Server, method: str, origin: str) -> str | None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    request = urllib.request.Request(f"{server.url}/health", headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: str | None = answer.headers.get("Access-Control-Allow-Origin")
    except HTTPError as error:
        found = error.headers.get("Access-Control-Allow-Origin")
    return found
