"""A proxy for tests that writes down all it is told, and answers that it does nothing."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

_ANSWER = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY")


@dataclass
class RecordingProxy:
    """A running proxy.

    Attributes:
        port: on 127.0.0.1.
        told: what each connection began with.
    """

    port: int
    told: list[bytes] = field(default_factory=list)

    def variables(self, scheme: str = "http") -> dict[str, str]:
        """Return the variables that name it, in both cases; with a password, as people have it."""
        url = f"{scheme}://user:canary@127.0.0.1:{self.port}"
        return {name: url for known in _NAMES for name in (known, known.lower())}


@contextmanager
def recording_proxy() -> Iterator[RecordingProxy]:
    """Run a proxy for as long as the block lasts."""

    class Told(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            running.told.append(self.request.recv(1 << 16))
            self.wfile.write(_ANSWER)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Told) as server:
        server.daemon_threads = True
        running = RecordingProxy(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def proxy() -> Iterator[RecordingProxy]:
    """Run a proxy that must be told nothing."""
    with recording_proxy() as running:
        yield running
        assert running.told == []
