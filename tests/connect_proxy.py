"""A real HTTP proxy for tests: tunnels by CONNECT, plain requests in absolute form, Basic credentials, and faults.

It alone resolves the names of its clients' targets: ``proxy.names["registry.test:5000"] = "127.0.0.1:40001"``. So a
registry on loopback has a name for tests that no other resolver knows. What clients sent it, outside of tunnels, is in
``proxy.heads``.
"""

import base64
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from prestow.registry.proxy import Proxies
from tests.registries import FaultRegistry

USER, PASSWORD = "us er", "p@ss:wörd/%"
ENCODED = "us%20er:p%40ss:w%C3%B6rd%2F%25"
WANTED = b"Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode())
_CHALLENGE = b'Proxy-Authenticate: Basic realm="proxy"\r\n'
_LIMIT = 1 << 16
_HANDSHAKE = b"\x16"  # how TLS begins


def answer(status: int, headers: bytes = b"") -> bytes:
    """Return the answer of a proxy that refuses."""
    return b"HTTP/1.1 %d Refused\r\n%bContent-Length: 6\r\n\r\nwords\n" % (status, headers)


@dataclass(frozen=True)
class ProxyFault:
    """How a proxy answers a request instead of passing it on.

    Attributes:
        raw: sent instead; then the connection ends.
        trickles: the answer, or what a tunnel's target sends, comes byte by byte.
        silent: nothing is sent.
    """

    raw: bytes | None = None
    trickles: bool = False
    silent: bool = False


@dataclass
class ConnectProxy:
    """A running proxy.

    Attributes:
        port: on 127.0.0.1.
        scheme: of the connection to it.
        names: addresses of targets, both ``host:port``.
        wants: whether it wants USER and PASSWORD.
        fault: what it does wrong.
        heads: requests that it got.
        accepted: connections that it got.
    """

    port: int
    scheme: str = "http"
    names: dict[str, str] = field(default_factory=dict)
    wants: bool = False
    fault: ProxyFault = ProxyFault()
    heads: list[bytes] = field(default_factory=list)
    accepted: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Its URL, without a user."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def url_with_password(self) -> str:
        """Its URL as people write it into a variable."""
        return f"{self.scheme}://{ENCODED}@127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        """Method and target of each request."""
        return [head.split(b" HTTP/")[0].decode() for head in self.heads]

    def proxies(self, exempt: str = "") -> Proxies:
        """Return proxies that are this one for all targets."""
        url = self.url_with_password if self.wants else self.url
        return Proxies(("HTTPS_PROXY", url), ("HTTP_PROXY", url), exempt)

    def name(self, registry: FaultRegistry, host: str = "registry.test") -> str:
        """Give a registry a name that only this proxy knows; return ``host:port``."""
        target = f"{host}:{registry.domain.rpartition(':')[2]}"
        self.names[target] = registry.domain
        return target

    def serve(self, client: socket.socket) -> None:
        """Answer one connection."""
        self.accepted += 1
        head, _, body = _head(client).partition(b"\r\n\r\n")
        if not head:
            return
        if head[:1] == _HANDSHAKE:
            self._send(client, answer(400))
            return
        self.heads.append(head)
        if self.fault.silent:
            self.ended.wait(30)
        elif self.fault.raw is not None:
            self._send(client, self.fault.raw)
        elif self.wants and b"Proxy-Authorization: " + WANTED not in head.split(b"\r\n"):
            self._send(client, answer(407, _CHALLENGE))
        else:
            self._pass_on(client, head, body)

    def _pass_on(self, client: socket.socket, head: bytes, body: bytes) -> None:
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        tunnel = method == "CONNECT"
        authority, slash, path = target.removeprefix("http://").partition("/")
        host, _, port = self.names.get(authority, "").rpartition(":")
        if not host:
            self._send(client, answer(502))
            return
        with socket.create_connection((host, int(port)), timeout=30) as server:
            if tunnel:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                lines = [line for line in head.split(b"\r\n")[1:] if not line.startswith(b"Proxy-")]
                first = f"{method} {slash}{path} HTTP/1.1".encode()
                body += _rest(client, head, len(body))
                server.sendall(b"\r\n".join([first, *lines, b"Connection: close"]) + b"\r\n\r\n" + body)
                status, _, rest = _head(server).partition(b"\r\n")
                self._send(client, status + b"\r\nConnection: close\r\n" + rest)
            self._relay(client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        """Pass bytes on in both directions until either side ends; one thread, since no TLS socket may have two."""
        while not self.ended.is_set():
            pending = isinstance(client, ssl.SSLSocket) and client.pending()
            for ready in [client] if pending else select.select([client, server], [], [], 0.5)[0]:
                data = ready.recv(_LIMIT)
                if not data:
                    return
                if ready is client:
                    server.sendall(data)
                else:
                    self._send(client, data)

    def _send(self, client: socket.socket, data: bytes) -> None:
        step = 1 if self.fault.trickles else len(data)
        for start in range(0, len(data), step):
            client.sendall(data[start : start + step])
            if self.fault.trickles and self.ended.wait(0.02):
                break


def _head(client: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _LIMIT and received[:1] != _HANDSHAKE:
        data = client.recv(_LIMIT)
        if not data:
            break
        received += data
    return received


def _rest(client: socket.socket, head: bytes, received: int) -> bytes:
    """Read what is left of a request's body, whose length the head says."""
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0].partition(b":")[2]) - received if lengths else 0
    with client.makefile("rb") as file:
        return file.read(left)


@contextmanager
def connect_proxy(certificate: Path | None = None, *, wants: bool = False) -> Iterator[ConnectProxy]:
    """Run a proxy for as long as the block lasts; with ``certificate``, a file that has its key too, it speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate is not None:
        context.load_cert_chain(certificate)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # clients go away as they like
                if certificate is None:
                    running.serve(self.request)
                else:
                    with context.wrap_socket(self.request, server_side=True) as secured:
                        running.serve(secured)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        running = ConnectProxy(server.server_address[1], "http" if certificate is None else "https", wants=wants)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield running
        finally:
            running.ended.set()
            server.shutdown()
            thread.join()
