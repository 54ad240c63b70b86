"""What clients of the server are held to: deadlines, a least rate, and a number of connections."""

import ctypes
import errno
import http.client
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http import HTTPStatus
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.errors import UnavailableError
from prestow.oci.descriptor import Descriptor
from prestow.reference import Reference
from prestow.registry.hosts import Options
from prestow.registry.layout import open_layout
from prestow.registry.server.limits import Limits
from prestow.registry.server.listener import Server, _client
from prestow.registry.source import Sources
from tests.image_factory import put_blob, write_demo_image
from tests.raw_http import Answer, answers

NEVER = 3600.0
HEAD = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"
SIZE = 16 << 20  # more than the kernel takes for a client that reads nothing


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    write_demo_image(tmp_path / "layout", ref="demo:1")
    return tmp_path / "layout"


@pytest.fixture
def blob(layout: Path) -> Descriptor:
    return put_blob(layout, os.urandom(SIZE), "application/octet-stream")


@pytest.fixture
def serve(layout: Path) -> Iterator[Callable[[Limits], Server]]:
    with ExitStack() as stack:
        yield lambda limits: stack.enter_context(Server(("127.0.0.1", 0), *open_layout(layout), limits=limits))


def connect(server: Server, data: bytes = b"", *, source: str = "", window: int = 0) -> socket.socket:
    with ExitStack() as failing:
        connection = failing.enter_context(
            closing(socket.socket(socket.AF_INET6 if ":" in server.address[0] else socket.AF_INET))
        )
        connection.settimeout(60)
        if window:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        if source:
            connection.bind((source, 0))
        _reach(connection, server)
        connection.sendall(data)
        failing.pop_all()
        return connection


def _reach(connection: socket.socket, server: Server) -> None:
    """Connect, as soon as there is a way: the kernel makes the routes of a new IPv6 address in a thread of its own."""
    deadline = time.monotonic() + 30
    while (failed := connection.connect_ex(server.address)) == errno.ENETUNREACH and time.monotonic() < deadline:
        time.sleep(0.01)
    if failed:
        raise OSError(failed, os.strerror(failed))


def drip(connection: socket.socket, data: bytes) -> None:
    """Send bytes one by one, with a little time between, until all are sent or nobody takes them."""
    tick = threading.Event()
    with suppress(ConnectionError):
        for byte in data:
            connection.sendall(bytes([byte]))
            tick.wait(0.02)


def rest(connection: socket.socket) -> list[Answer]:
    with connection.makefile("rb") as stream:
        return list(answers(stream))


def blob_request(blob: Descriptor) -> bytes:
    return b"GET /v2/x/blobs/%b HTTP/1.1\r\nHost: x\r\n\r\n" % blob.digest.encode()


def ask(server: Server, *, source: str = "") -> int:
    """Ask for what is always there, on a connection of its own; give the status."""
    with closing(connect(server, HEAD + b"Connection: close\r\n\r\n", source=source)) as connection:
        (answer,) = rest(connection)
        return answer.status


@pytest.mark.parametrize("before", [b"", HEAD + b"\r\n"])
def test_a_head_that_comes_byte_by_byte_has_one_deadline(serve: Callable[[Limits], Server], before: bytes) -> None:
    server = serve(Limits(idle=NEVER, head=0.3))
    with closing(connect(server, before)) as connection:
        drip(connection, HEAD + b"X: " + b"y" * 1000)
        got = [answer.status for answer in rest(connection)]

    assert got == ([200, HTTPStatus.REQUEST_TIMEOUT] if before else [HTTPStatus.REQUEST_TIMEOUT])


@pytest.mark.parametrize("before", [b"", HEAD + b"\r\n"])
def test_a_connection_that_asks_for_nothing_ends_without_a_word(
    serve: Callable[[Limits], Server], before: bytes
) -> None:
    with closing(connect(serve(Limits(idle=0.2, head=NEVER)), before)) as connection:
        assert [answer.status for answer in rest(connection)] == [200] * bool(before)


@pytest.mark.parametrize("piece", [0, 1, 100])
def test_a_client_that_takes_an_answer_too_slowly_is_dropped(
    serve: Callable[[Limits], Server], blob: Descriptor, piece: int
) -> None:
    server = serve(Limits(window=0.3, rate=1 << 20))
    tick = threading.Event()
    with closing(connect(server, blob_request(blob), window=4096)) as slow:
        slow.recv(1)
        while server.connections:
            slow.recv(piece)
            tick.wait(0.02)
        received = 0
        with suppress(ConnectionError):
            while data := slow.recv(1 << 16):
                received += len(data)

    assert received < SIZE


def test_a_client_that_takes_an_answer_fast_enough_gets_it_whole(
    serve: Callable[[Limits], Server], blob: Descriptor
) -> None:
    server = serve(Limits(window=1, rate=1))  # a loaded machine may stop a client for a tenth of that
    tick = threading.Event()
    with closing(http.client.HTTPConnection(*server.address, timeout=60)) as connection:
        connection.request("GET", f"/v2/x/blobs/{blob.digest}")
        response = connection.getresponse()
        body = b""
        while data := response.read(SIZE // 16 + 1):
            body += data
            tick.wait(0.1)

    assert Digest.of(body) == blob.digest


def test_the_connection_that_has_waited_longest_goes_first(serve: Callable[[Limits], Server], blob: Descriptor) -> None:
    server = serve(Limits(idle=NEVER, head=NEVER, connections=3))
    with (
        closing(connect(server, blob_request(blob), window=4096)) as busy,
        closing(connect(server, HEAD)) as longest,
        closing(http.client.HTTPConnection(*server.address, timeout=60)) as idle,
    ):
        busy.recv(1)
        idle.request("GET", "/v2/")
        idle.getresponse().read()

        assert ask(server) == HTTPStatus.OK
        assert longest.recv(1) == b""

        idle.request("GET", "/v2/")
        assert idle.getresponse().read() == b"{}"


def test_a_client_is_told_to_come_again_where_all_connections_are_busy(
    serve: Callable[[Limits], Server], blob: Descriptor
) -> None:
    server = serve(Limits(connections=1))
    with closing(connect(server, blob_request(blob), window=4096)) as busy, Sources(Options()) as sources:
        busy.recv(1)
        source = sources.open(Reference.parse(f"127.0.0.1:{server.address[1]}/demo:1"))
        with pytest.raises(UnavailableError) as caught:
            source.resolve()

    assert caught.value.retry_after == 1


def test_an_answer_whose_blob_shrinks_is_not_continued_with_the_next(
    serve: Callable[[Limits], Server], layout: Path, blob: Descriptor
) -> None:
    server = serve(Limits())
    with closing(connect(server, blob_request(blob) + HEAD + b"\r\n", window=4096)) as connection:
        connection.recv(1)
        os.truncate(layout / "blobs/sha256" / blob.digest.encoded, 8 << 20)
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))

    assert received.count(b"HTTP/1.1 200") == 0
    assert len(received) < SIZE


def test_connections_that_end_leave_nothing_behind(serve: Callable[[Limits], Server], blob: Descriptor) -> None:
    server = serve(Limits())
    tick = threading.Event()
    used = _descriptors() + threading.active_count()
    for data in (b"", HEAD, HEAD + b"\r\n", b"\0", blob_request(blob)):
        for _ in range(20):
            with closing(connect(server, data)) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    while _descriptors() + threading.active_count() > used:  # ends within the test's time, or is a leak
        tick.wait(0.01)
    assert server.connections == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network of its own")
@pytest.mark.parametrize(
    "clients", [("192.0.2.1", "192.0.2.2", "192.0.2.3"), ("2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::1")]
)
def test_one_client_does_not_get_all_connections(layout: Path, blob: Descriptor, clients: tuple[str, str, str]) -> None:
    def scene() -> None:
        here, neighbour, stranger = clients
        same = neighbour if ":" in here else here
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for address in clients:
            subprocess.run(["ip", "address", "add", address, "dev", "lo", *["nodad"] * (":" in address)], check=True)
        limits = Limits(idle=NEVER, head=NEVER, per_client=2)
        with Server((here, 0), *open_layout(layout), limits=limits) as server, ExitStack() as stack:
            slow = [stack.enter_context(closing(connect(server, HEAD, source=here))) for _ in range(2)]
            assert ask(server, source=same) == HTTPStatus.OK
            assert slow[0].recv(1) == b""
            for _ in range(2):
                stack.enter_context(closing(connect(server, blob_request(blob), source=here, window=4096))).recv(1)
            assert ask(server, source=same) == HTTPStatus.SERVICE_UNAVAILABLE
            assert ask(server, source=stranger) == HTTPStatus.OK

    _in_own_network(scene)


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ("fe80::1%1", "fe80::/64"),
        ("127.0.0.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
    ],
)
def test_a_client_is_an_address_or_a_network_of_ipv6(host: str, client: str) -> None:
    assert _client(host) == client


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _in_own_network(scene: Callable[[], None]) -> None:
    """Play a scene in a thread whose sockets are in a network of its own."""
    failed: list[BaseException] = []

    def play() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.unshare(0x4000_0000) == 0, os.strerror(ctypes.get_errno())
            scene()
        except BaseException as error:  # noqa: BLE001 - it belongs to the test, not to the thread
            failed.append(error)

    thread = threading.Thread(target=play)
    thread.start()
    thread.join()
    for error in failed:
        raise error
