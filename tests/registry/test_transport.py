"""The transport: where it connects to, and how a large body gets past the parser."""

import random
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from prestow.errors import InvalidError, UnavailableError
from prestow.registry.hosts import Timeouts
from prestow.registry.network import Reach
from prestow.registry.transport import Transport
from tests.certificates import self_signed
from tests.registries import Fault, FaultRegistry

BODY = random.Random(1).randbytes(20_000_000)  # beyond what is read through the parser
SHORT = Timeouts(connect=5, idle=0.3, document=30, pool=5, window=0.3, rate=1_000_000)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n"


@contextmanager
def opened(*, limit: Reach | None = None, context: ssl.SSLContext | None = None) -> Iterator[Transport]:
    with Transport(context, limit=limit) as transport:
        yield transport


def chunks(transport: Transport, url: str, timeouts: Timeouts | None = None) -> Iterator[bytes]:
    """Ask for a blob, and yield its bytes as they come."""
    waits = {"timeouts": timeouts or Timeouts(), "timeout": httpx.Timeout(5).as_dict()}
    request = httpx.Request("GET", url, extensions={"streams": True, **waits})
    answer = transport.handle_request(request)
    try:
        yield from answer.iter_raw()
    finally:
        answer.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f.1", "[::1]", "0.0.0.0"])
def test_no_spelling_of_loopback_is_connected_to_for_a_public_server(host: str) -> None:
    with opened(limit=Reach.PUBLIC) as transport, pytest.raises(InvalidError, match="own network"):
        next(chunks(transport, f"http://{host}:9/"))


def test_an_unknown_host_is_a_failed_connection() -> None:
    with opened() as transport, pytest.raises(httpx.ConnectError):
        next(chunks(transport, "http://nowhere.invalid:9/"))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=200, body=BODY),
        Fault(status=200, body=BODY, pieces=3_000_000),
        Fault(status=200, body=BODY, chunked=True),
        Fault(raw=HEAD + BODY + b"more"),
        Fault(raw=HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 20000000\r\n\r\n") + BODY),
        Fault(raw=b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + BODY),
        Fault(raw=HEAD.replace(b"1.1", b"1.0") + BODY),
        Fault(raw=b"HTTP/1.0 200 OK\r\n\r\n" + BODY),
    ],
    ids=["at once", "in pieces", "chunked", "and more", "told twice", "after another", "HTTP/1.0", "until the end"],
)
def test_a_large_body_comes_whole_however_it_is_framed(fault_registry: FaultRegistry, fault: Fault) -> None:
    fault_registry.on("", fault)

    with opened() as transport:
        assert b"".join(chunks(transport, fault_registry.url)) == BODY


def test_the_connection_of_a_large_body_is_used_again(fault_registry: FaultRegistry) -> None:
    fault_registry.on("/large", Fault(status=200, body=BODY))
    fault_registry.on("", Fault(status=200, body=b"small"))

    with opened() as transport:
        for path in ("/small", "/large", "/small", "/small"):
            assert b"".join(chunks(transport, fault_registry.url + path)) in (BODY, b"small")

    assert len(fault_registry.seen) == 4
    assert fault_registry.accepted == 1


def test_a_large_body_comes_over_tls_too(demo_layout: Path, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))

    with FaultRegistry(demo_layout, certificate=certificate) as registry, opened(context=context) as transport:
        registry.on("/dropped", Fault(status=200, body=BODY, drop_after=12_345_678))
        registry.on("", Fault(status=200, body=BODY))

        assert b"".join(chunks(transport, registry.url)) == BODY
        assert received(transport, registry.url + "/dropped", httpx.RemoteProtocolError) == 12_345_678


def received(transport: Transport, url: str, error: type[Exception], timeouts: Timeouts | None = None) -> int:
    """Count the bytes that come before an error."""
    came: list[int] = []
    with pytest.raises(error):
        came.extend(map(len, chunks(transport, url, timeouts)))
    return sum(came)


def test_all_that_came_before_the_connection_broke_is_given(fault_registry: FaultRegistry) -> None:
    fault_registry.on("", Fault(status=200, body=BODY, drop_after=12_345_678))

    with opened() as transport:
        assert received(transport, fault_registry.url, httpx.RemoteProtocolError) == 12_345_678


def test_a_large_body_that_stops_coming_ends_in_time(fault_registry: FaultRegistry) -> None:
    fault_registry.on("", Fault(status=200, body=BODY, stall_after=12_345_678))

    with opened() as transport:
        assert received(transport, fault_registry.url, httpx.ReadTimeout, SHORT) == 12_345_678


def test_a_large_body_needs_a_least_rate(fault_registry: FaultRegistry) -> None:
    fault_registry.on("", Fault(status=200, body=BODY, pieces=1000))

    with opened() as transport:
        assert received(transport, fault_registry.url, UnavailableError, replace(SHORT, idle=5)) < 1_000_000
