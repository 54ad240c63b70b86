"""``prestow serve`` feeds 200 clients at once, while others hold connections, read slowly and send nonsense."""

import os
import resource
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.verify import verify
from prestow.errors import PrestowError
from prestow.platforms import Platform
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.registry.hosts import Options
from prestow.registry.source import Sources
from tests.flows.cli.conftest import Prestow
from tests.image_factory import put_blob, write_demo_image
from tests.raw_http import Address, talk
from tests.serving import Serving, serving

CLIENTS = 200
ATTEMPTS = 5
HOLDING = 256
READING = 32
SOAK_SECONDS = 600
AMD64 = Platform("linux", "amd64")
MIB = 1 << 20
UNFINISHED = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: "
NONSENSE = [
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
    b"GET /" + b"a" * 100_000,
    os.urandom(2000) + b"\n",
]


@pytest.fixture
def files() -> Iterator[None]:
    """Allow this process descriptors for all clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Clients that want no answer; each that is dropped comes again."""

    def __init__(self, address: Address, number: int, hello: bytes, go_on: Callable[[socket.socket], None]) -> None:
        self._address = address
        self._hello = hello
        self._go_on = go_on
        self.open = [self._connect() for _ in range(number)]

    def turn(self) -> None:
        """Let each do a little."""
        for index, connection in enumerate(self.open):
            try:
                self._go_on(connection)
            except BlockingIOError:
                continue
            except OSError:
                connection.close()
                self.open[index] = self._connect()

    def close(self) -> None:
        """Go away."""
        for connection in self.open:
            connection.close()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=60)
        connection.sendall(self._hello)
        connection.settimeout(0)
        return connection


def pulled(domain: str, folder: Path, layers: int) -> None:
    """Pull some layers of the demo image once, as a new host does; what may pass is tried again, as our steps do."""
    for attempt in range(ATTEMPTS):
        try:
            _pulled(domain, folder, layers)
        except PrestowError as error:  # a client that is starved of its CPU may miss a deadline
            if not error.transient or attempt == ATTEMPTS - 1:
                raise
        else:
            break
    shutil.rmtree(folder)


def _pulled(domain: str, folder: Path, layers: int) -> None:
    content = LocalStore(folder / "content", folder / "ingest", durable=False)
    with Sources(Options()) as sources:
        source = sources.open(Reference.parse(f"{domain}/demo:1"))
        for layer in fetch_manifest(source, content, source.resolve(), AMD64).layers[:layers]:
            fetch_blob(source, content, layer.descriptor)
            verify(content, layer.descriptor)


def memory(serving: Serving) -> int:
    """Resident bytes of the server."""
    pages = Path(f"/proc/{serving.process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def descriptors(serving: Serving) -> int:
    return sum(1 for _ in Path(f"/proc/{serving.process.pid}/fd").iterdir())


def fed(alone: Prestow, tmp_path: Path, seconds: float, *, layers: int) -> None:
    """Feed the fleet for some time, each client once at least."""
    write_demo_image(tmp_path / "layout", ref="demo:1")
    large = put_blob(tmp_path / "layout", bytes(16 * MIB), "application/octet-stream")
    wanted = b"GET /v2/x/blobs/%b HTTP/1.1\r\nHost: x\r\n\r\n" % large.digest.encode()
    end = time.monotonic() + seconds
    begin = threading.Barrier(CLIENTS + 1)

    def client(number: int) -> int:
        begin.wait()
        pulls = 0
        while pulls == 0 or time.monotonic() < end:
            pulled(server.domain, tmp_path / str(number), layers)
            pulls += 1
        return pulls

    with ExitStack() as stack:
        server = stack.enter_context(serving(alone, "--layout", str(tmp_path / "layout")))
        idle = descriptors(server)
        holding = stack.enter_context(closing(Crowd(server.address, HOLDING, UNFINISHED, lambda held: held.send(b"y"))))
        reading = stack.enter_context(closing(Crowd(server.address, READING, wanted, _sip)))
        clients = stack.enter_context(ThreadPoolExecutor(CLIENTS))
        pulls = [clients.submit(client, number) for number in range(CLIENTS)]
        begin.wait()
        early, most, done = 0, 0, threading.Event()
        while not all(pull.done() for pull in pulls):
            for nonsense in NONSENSE:
                (answer,) = talk(server.address, [nonsense])
                assert 400 <= answer.status < 500
            holding.turn()
            reading.turn()
            most = max(most, descriptors(server))
            early = early if time.monotonic() > end - seconds / 2 else memory(server)
            done.wait(min(10, seconds / 10))
        assert sum(pull.result() for pull in pulls) >= CLIENTS
        assert most <= 2 * (CLIENTS + HOLDING + READING) + 128
        assert memory(server) < min(192 * MIB, (early or 192 * MIB) + 32 * MIB)
        holding.close()
        reading.close()
        while descriptors(server) > idle:  # what the clients held is given back, or the test does not end
            done.wait(0.05)


def _sip(connection: socket.socket) -> None:
    with suppress(BlockingIOError):
        if not connection.recv(1):
            raise ConnectionError


@pytest.mark.long
@pytest.mark.usefixtures("files")
def test_200_clients_pull_at_once_while_others_hold_connections(alone: Prestow, tmp_path: Path) -> None:
    fed(alone, tmp_path, 0, layers=1)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS + 600)
@pytest.mark.usefixtures("files")
def test_200_clients_pull_for_ten_minutes_while_others_hold_connections(alone: Prestow, tmp_path: Path) -> None:
    fed(alone, tmp_path, SOAK_SECONDS, layers=3)


@pytest.mark.parametrize("arguments", [(), ("--connections", "64")])
@pytest.mark.usefixtures("files")
def test_connections_that_only_wait_lock_nobody_out(
    alone: Prestow, tmp_path: Path, demo_layout: Path, arguments: tuple[str, ...]
) -> None:
    with (
        serving(alone, "--layout", str(demo_layout), *arguments) as server,
        closing(Crowd(server.address, 300, UNFINISHED, lambda held: held.send(b"y"))) as holding,
    ):
        inspect = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{server.domain}/demo:latest"]
        done = subprocess.run(inspect, capture_output=True, text=True, timeout=60, check=False)
        holding.turn()

    assert done.returncode == 0, done.stderr


def test_descriptors_bound_the_connections(alone: Prestow, demo_layout: Path) -> None:
    said = "serving at most 16 connections at once; for more, raise the hard limit `ulimit -Hn` (128)\n"
    with (
        serving(alone, "--layout", str(demo_layout), said=said, preexec_fn=_few_files) as server,
        closing(Crowd(server.address, 300, UNFINISHED, lambda held: held.send(b"y"))),
    ):
        (answer,) = talk(server.address, [b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
        assert answer.status == 200
        assert descriptors(server) <= 128


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
