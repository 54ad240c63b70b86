"""A Prefect API that breaks every connection on which a certain path is asked for, and is the real one otherwise."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class DeafApi:
    """The API: its URL, and an event that is set when it has refused something."""

    url: str
    refused: threading.Event = field(default_factory=threading.Event)


@contextmanager
def deaf_api(url: str, path: str) -> Iterator[DeafApi]:
    """Stand between clients and the API at ``url`` for a block; ``path`` is below that of the API."""
    real = urlsplit(url)
    asked = f" {real.path}{path}".encode()

    class Between(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((real.hostname, real.port or 80)) as server:
                back = threading.Thread(target=relay, args=(server, self.request))
                back.start()
                relay(self.request, server)
                back.join()

    def relay(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                if asked in piece:
                    api.refused.set()
                    break
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Between) as server:
        api = DeafApi(f"http://127.0.0.1:{server.server_address[1]}{real.path}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
