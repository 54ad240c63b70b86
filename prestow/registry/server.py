"""A read-only registry over a store: other hosts, and other tools, pull from it what is here.

One thread a connection, a bounded number of connections, a bounded wait for each. Stopping lets answers that are
under way finish, for a while, and ends connections that wait for nothing.

There is neither TLS nor authentication: it belongs on loopback, into a private network, or behind a proxy.
"""

import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self

from prestow import __version__
from prestow.content.store import Provider
from prestow.errors import UnavailableError, printable
from prestow.registry.pull_api import Answer, FindImage, PullApi, error_answer

_log = logging.getLogger(__name__)

_IDLE = 30.0  # seconds to wait for a request, and for a slow reader
_CONNECTIONS = 256
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Server:
    """Serves while its context is open.

    Args:
        listen: host and port; port 0 takes a free one.
        images: the names.
        content: the blobs.
        connections: most connections at one time; further ones are told to come again.
    """

    def __init__(
        self, listen: tuple[str, int], images: FindImage, content: Provider, *, connections: int = _CONNECTIONS
    ) -> None:
        """Take the address; connections wait until :meth:`start`.

        Raises:
            UnavailableError: the address is not free, or not ours.
        """
        api = PullApi(images, content)
        try:
            self._sockets = _Sockets(listen, lambda *arguments: _Connection(api, *arguments), connections)
        except OSError as error:
            raise UnavailableError(f"cannot listen on {listen[0]}:{listen[1]}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._sockets.serve_forever, name="registry", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port, *_ = self._sockets.server_address
        return str(host), int(port)

    def start(self) -> None:
        """Serve, in a thread of its own."""
        self._thread.start()

    def stop(self, *, grace: float = 10.0) -> None:
        """Take no more requests, wait ``grace`` seconds for answers under way, and end."""
        if self._thread.is_alive():
            self._sockets.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which looks up rarely otherwise
            self._sockets.shutdown()
            self._thread.join()
        self._sockets.finish(grace)
        self._sockets.server_close()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


class _Sockets(socketserver.ThreadingTCPServer):
    """The listening socket, and those of all connections."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, listen: tuple[str, int], handler: Callable[..., socketserver.BaseRequestHandler], connections: int
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        self._most = connections
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(listen, handler)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]  # TCP
        with self._changed:
            welcome = len(self._open) < self._most
            if welcome:
                self._open.add(request)
        if welcome:
            super().process_request(request, client_address)
        else:
            request.settimeout(0)
            request.send(_BUSY)
            self.shutdown_request(request)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]  # TCP only
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - named by socketserver
        _log.debug("connection of %s ended", client_address, exc_info=True)

    def finish(self, grace: float) -> None:
        self._end(socket.SHUT_RD)  # who waits for a request sees the end; who is sending goes on
        with self._changed:
            self._changed.wait_for(lambda: not self._open, timeout=grace)
        self._end(socket.SHUT_RDWR)

    def _end(self, how: int) -> None:
        with self._changed:
            for connection in self._open:
                try:
                    connection.shutdown(how)
                except OSError:  # it ended by itself
                    continue


class _Connection(BaseHTTPRequestHandler):
    """One connection: requests one after the other."""

    protocol_version = "HTTP/1.1"
    server_version = f"prestow/{__version__}"
    sys_version = ""
    timeout = _IDLE
    wbufsize = 1 << 16

    def __init__(self, api: PullApi, request: socket.socket, address: object, sockets: socketserver.BaseServer) -> None:
        self._api = api
        super().__init__(request, address, sockets)

    def do_GET(self) -> None:
        self._send(self._api.answer(self.path, self.headers.get("Range")))

    def do_HEAD(self) -> None:
        self._send(self._api.answer(self.path))

    def do_POST(self) -> None:
        self._send(error_answer(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry is read-only"))

    def do_PUT(self) -> None:
        self.do_POST()

    def do_PATCH(self) -> None:
        self.do_POST()

    def do_DELETE(self) -> None:
        self.do_POST()

    def _send(self, answer: Answer) -> None:
        try:
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
                self.send_header("Connection", "close")  # nobody reads the body that the request has
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(answer.body)
            if answer.blob is not None and answer.end > answer.start:
                self.wfile.flush()
                self.connection.sendfile(answer.blob, answer.start, answer.end - answer.start)
        finally:
            if answer.blob is not None:
                answer.blob.close()

    def log_message(self, form: str, *arguments: object) -> None:
        _log.info("%s %s", self.address_string(), printable(form % arguments))
