"""One exchange: what is sent, and what a server can do wrong."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.errors import ExhaustedError, InvalidError, PrestowError, UnavailableError
from prestow.registry.hosts import Options, Timeouts, Tls
from prestow.registry.http import Connections, Request
from prestow.registry.url import Url
from tests.certificates import self_signed
from tests.registries import Fault, FaultRegistry

SHORT = Timeouts(connect=5, idle=0.3, document=0.6, pool=5, window=0.3, rate=100_000)
MANIFEST = "/v2/team/app/manifests/demo"


def read(
    registry: FaultRegistry, target: str = MANIFEST, *, options: Options | None = None, limit: int = 1 << 20
) -> bytes:
    request = Request("GET", Url.parse(registry.url + target))
    with closing(Connections(options or Options())) as connections, connections.exchange(request) as response:
        return response.read(limit)


def test_a_request_asks_for_the_bytes_as_they_are_and_says_who_asks(fault_registry: FaultRegistry) -> None:
    read(fault_registry)

    (seen,) = fault_registry.seen
    assert set(seen.headers) == {"Host", "User-Agent", "Accept-Encoding"}
    assert seen.headers["Accept-Encoding"] == "identity"
    assert seen.headers["User-Agent"].startswith("prestow/")


def test_a_path_is_sent_as_it_stands(fault_registry: FaultRegistry) -> None:
    read(fault_registry, "/v2/r/blobs/sha256:../../../../x")

    assert fault_registry.seen[0].path == "/v2/r/blobs/sha256:../../../../x"


def test_a_name_that_is_no_idna_is_sent_as_it_stands() -> None:
    wire = Request("GET", Url.parse("https://xn--i-7iq.ws/v2/")).wire(SHORT)

    assert (wire.url.raw_host, wire.headers["Host"]) == (b"xn--i-7iq.ws", "xn--i-7iq.ws")


def test_a_host_that_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidError, match="256"):
        fetched(Options(), "http://1.2.3.256/v2/")


def test_cookies_are_not_kept(fault_registry: FaultRegistry) -> None:
    fault_registry.on("", Fault(headers={"Set-Cookie": "session=canary; Path=/"}))
    connections = Connections(Options())

    for _ in range(2):
        with connections.exchange(Request("GET", Url.parse(fault_registry.url + MANIFEST))) as response:
            response.read(1 << 20)
    connections.close()

    assert all("Cookie" not in seen.headers for seen in fault_registry.seen)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(drop_after=0),
        Fault(drop_after=10),
        Fault(chunked=True, drop_after=10),
        Fault(raw=b""),
        Fault(raw=b"nonsense\r\n\r\n"),
        Fault(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        Fault(raw=b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        Fault(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        Fault(raw=b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000 + b"\r\n\r\n"),
        Fault(raw=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n"),
        Fault(silent=True),
        Fault(raw=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, pieces=1),
        Fault(raw=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, pieces=28),
        Fault(raw=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40_000 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        Fault(pieces=1),
    ],
    ids=lambda fault: repr(fault)[:60],
)
def test_a_broken_or_endless_answer_is_an_error_that_may_pass(fault_registry: FaultRegistry, fault: Fault) -> None:
    fault_registry.on("", fault)

    with pytest.raises(UnavailableError, match=fault_registry.domain):
        read(fault_registry, options=Options(timeouts=SHORT))


def test_a_few_answers_before_the_answer_are_none(fault_registry: FaultRegistry) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100
    fault_registry.on("", Fault(raw=early + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))

    assert read(fault_registry) == b"ok"


def test_proxies_of_the_environment_are_not_used(
    fault_registry: FaultRegistry, demo_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultRegistry(demo_layout) as proxy:
        for scheme in ("http", "https", "all"):
            for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
                monkeypatch.setenv(name, f"http://user:canary@{proxy.domain}")

        read(fault_registry)

    assert proxy.accepted == 0
    assert "Proxy-Authorization" not in fault_registry.seen[0].headers


def test_a_blob_that_trickles_is_too_slow(fault_registry: FaultRegistry) -> None:
    fault_registry.on("", Fault(pieces=1, body=b"x" * 1000))
    connections = Connections(Options(timeouts=replace(SHORT, idle=5)))

    with (
        pytest.raises(UnavailableError, match="a second are expected"),
        connections.exchange(Request("GET", Url.parse(fault_registry.url + MANIFEST), streams=True)) as response,
    ):
        for _ in response.chunks():
            pass


@pytest.mark.parametrize("chunked", [False, True])
def test_a_document_is_read_up_to_its_limit_and_no_further(fault_registry: FaultRegistry, chunked: bool) -> None:  # noqa: FBT001 - a table
    fault_registry.on("", Fault(body=b" " * 5_000_000, chunked=chunked))

    with pytest.raises(ExhaustedError, match="1000 bytes"):
        read(fault_registry, limit=1000)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "br", "zstd", "deflate", "identity, gzip"])
def test_an_encoding_that_was_not_asked_for_is_refused(fault_registry: FaultRegistry, encoding: str) -> None:
    fault_registry.on("", Fault(headers={"Content-Encoding": encoding}))

    with pytest.raises(InvalidError, match="encoding"):
        read(fault_registry)


def test_nobody_listening_is_an_error_that_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(UnavailableError, match="no connection"):
        fetched(Options(), f"http://127.0.0.1:{port}/v2/")


def test_a_value_that_no_header_can_carry_is_refused_before_anything_is_sent(fault_registry: FaultRegistry) -> None:
    connections = Connections(Options())

    for value in ("ä", "a\r\nX: y", "a\0"):
        request = Request("GET", Url.parse(fault_registry.url + "/v2/"), headers=(("X-Test", value),))
        with pytest.raises(InvalidError), connections.exchange(request):
            pass
    assert fault_registry.seen == []


def test_connections_are_used_again_also_after_an_answer_that_nobody_read(fault_registry: FaultRegistry) -> None:
    connections = Connections(Options(timeouts=replace(SHORT, document=30, idle=30)))

    for method in ("HEAD", "GET", "GET"):
        with connections.exchange(Request(method, Url.parse(fault_registry.url + MANIFEST))) as response:
            assert response.status == 200
    connections.close()

    assert len(fault_registry.seen) == 3
    assert fault_registry.accepted == 1


def test_a_forked_child_makes_connections_of_its_own(fault_registry: FaultRegistry) -> None:
    request = Request("GET", Url.parse(fault_registry.url + MANIFEST))
    with closing(Connections(Options())) as connections:
        with connections.exchange(request) as response:
            response.read(1 << 20)
        child = os.fork()
        if child == 0:
            with connections.exchange(request) as response:
                os._exit(response.status - 200)
        assert os.waitpid(child, 0)[1] == 0
        with connections.exchange(request) as response:
            response.read(1 << 20)

    assert len(fault_registry.seen) == 3
    assert fault_registry.accepted == 2


def test_all_connections_being_busy_is_an_error_that_may_pass(fault_registry: FaultRegistry) -> None:
    options = Options(timeouts=replace(SHORT, document=30, pool=0.05))
    request = Request("GET", Url.parse(fault_registry.url + MANIFEST))

    with closing(Connections(options)) as connections, ExitStack() as busy:
        for _ in range(64):
            busy.enter_context(connections.exchange(request))
        one_more = connections.exchange(request)
        with pytest.raises(UnavailableError, match="busy"):
            busy.enter_context(one_more)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_registry(demo_layout: Path, certificate: Path) -> Iterator[FaultRegistry]:
    with FaultRegistry(demo_layout, certificate=certificate) as registry:
        yield registry


def fetched(options: Options, url: str, tls: Tls | None = None) -> int:
    request = Request("GET", Url.parse(url), tls=tls or Tls())
    with closing(Connections(options)) as connections, connections.exchange(request) as response:
        return response.status


def test_a_certificate_that_nobody_vouches_for_is_refused(tls_registry: FaultRegistry) -> None:
    with pytest.raises(InvalidError, match="not trusted"):
        fetched(Options(), tls_registry.url + MANIFEST)
    assert tls_registry.seen == []


def test_a_certificate_is_trusted_by_its_ca_or_where_nothing_is_verified(
    tls_registry: FaultRegistry, certificate: Path
) -> None:
    url = tls_registry.url + MANIFEST

    assert fetched(Options(), url, Tls(ca=(certificate,))) == 200
    assert fetched(Options(), url, Tls(verify=False)) == 200


def test_a_certificate_for_another_name_is_refused(tls_registry: FaultRegistry, certificate: Path) -> None:
    url = tls_registry.url.replace("127.0.0.1", "localhost") + MANIFEST

    with pytest.raises(InvalidError, match="not trusted"):
        fetched(Options(), url, Tls(ca=(certificate,)))


def test_tls_to_a_port_without_it_is_told_as_that(fault_registry: FaultRegistry) -> None:
    with pytest.raises(PrestowError, match="does not speak TLS"):
        fetched(Options(), fault_registry.url.replace("http:", "https:") + MANIFEST)


def test_a_ca_file_that_is_none_is_named(tls_registry: FaultRegistry, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"none\.pem"):
        fetched(Options(), tls_registry.url + MANIFEST, Tls(ca=(tmp_path / "none.pem",)))
