"""A read-only registry over a store: other hosts, and other tools, pull from it what is here.

One thread a connection, since reading a disk blocks. The number of connections is bounded, in all and of each client;
for a new one beyond that, the connection that has waited longest for a request ends, so that clients who only hold
connections lock no other client out. Stopping lets answers that are under way finish, for a while.

There is neither TLS nor authentication: it belongs on loopback, into a private network, or behind a proxy.
"""

import logging
import socket
import threading
from collections import deque
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Self

from prestow.content.store import Provider
from prestow.errors import UnavailableError
from prestow.registry.pull_api import FindImage, PullApi
from prestow.registry.server.connection import Connection
from prestow.registry.server.limits import Limits
from prestow.registry.server.peer import Peer

_log = logging.getLogger(__name__)

_BACKLOG = 1024
_LOOPBACK = "loopback"
_REFUSED = 32  # sockets of clients that may still read that we are busy
_BREATH = 0.1  # seconds until the next try where descriptors are short
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Server:
    """Serves while its context is open.

    Args:
        listen: host and port; port 0 takes a free one.
        images: the names.
        content: the blobs.
        limits: what clients are held to.

    Attributes:
        address: host and port.
    """

    def __init__(
        self, listen: tuple[str, int], images: FindImage, content: Provider, *, limits: Limits | None = None
    ) -> None:
        """Take the address; connections wait until :meth:`start`.

        Raises:
            UnavailableError: the address is not free, or not ours.
        """
        self._api = PullApi(images, content)
        self._limits = limits or Limits()
        self._changed = threading.Condition()
        self._open: set[Connection] = set()
        self._refused: deque[socket.socket] = deque()
        self._stopping = threading.Event()
        self._socket = _listening(listen)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._thread = threading.Thread(target=self._accept, name="registry", daemon=True)

    @property
    def connections(self) -> int:
        """Those that are open now."""
        return len(self._open)

    def start(self) -> None:
        """Serve, in a thread of its own."""
        self._thread.start()

    def stop(self, *, grace: float = 10.0) -> None:
        """Take no more requests, wait ``grace`` seconds for answers under way, and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
            self._thread.join()
        with self._changed:
            for connection in self._open:
                connection.leave()
            if not self._changed.wait_for(lambda: not self._open, timeout=grace):
                for connection in self._open:
                    connection.cut()
        for refused in self._refused:
            refused.close()
        self._socket.close()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                accepted, address = self._socket.accept()
            except OSError as error:
                _log.debug("cannot accept: %s", error)
                self._stopping.wait(_BREATH)
                continue
            try:
                self._admit(accepted, _client(address[0]))
            except (OSError, RuntimeError) as error:  # it has ended already, or there can be no more threads
                _log.debug("connection of %s ended: %s", address[0], error)
                accepted.close()

    def _admit(self, accepted: socket.socket, client: str) -> None:
        connection = Connection(self._api, Peer(accepted, self._limits), client, self._limits)
        with self._changed:
            welcome = self._make_room(client)
            if welcome:
                self._open.add(connection)
        if not welcome:
            self._refuse(accepted)
            return
        try:
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()
        except RuntimeError:
            self._forget(connection)
            raise

    def _refuse(self, accepted: socket.socket) -> None:
        """Ask a client to come again; closed at once, its unread request would make the kernel withdraw the answer."""
        accepted.send(_BUSY)
        accepted.shutdown(socket.SHUT_WR)
        self._refused.append(accepted)
        if len(self._refused) > _REFUSED:
            self._refused.popleft().close()

    def _make_room(self, client: str) -> bool:
        """Let the connection go that has waited longest, if there are too many; give whether there is room."""
        staying = [connection for connection in self._open if not connection.leaving]
        same = [connection for connection in staying if connection.client == client]
        if client != _LOOPBACK and len(same) >= self._limits.per_client:
            crowd = same
        elif len(staying) >= self._limits.connections:
            crowd = staying
        else:
            return True
        waiting = [(since, id(found), found) for found in crowd if (since := found.waiting_since) is not None]
        if waiting:
            min(waiting)[2].leave()
        return bool(waiting)

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        except OSError as error:
            _log.debug("connection of %s ended: %s", connection.client, error)
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()


def _listening(listen: tuple[str, int]) -> socket.socket:
    """Open the socket; one of IPv6 takes IPv4 too, where it can."""
    found = socket.socket(socket.AF_INET6 if ":" in listen[0] else socket.AF_INET)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(listen)
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise UnavailableError(f"cannot listen on {listen[0]}:{listen[1]}: {error.strerror}") from error
    return found


def _client(host: str) -> str:
    """Return whose connection one from ``host`` counts as: the address, the network of an IPv6 address, or loopback."""
    address = ip_address(host)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return _LOOPBACK
    return str(ip_network((int(address) >> 64 << 64, 64))) if isinstance(address, IPv6Address) else str(address)
