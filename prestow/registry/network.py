"""Connections whose every wait has an end, to no deeper a place than is allowed.

**Time.** A timeout for one read bounds nothing: a server that sends a byte now and then never meets it. So each
exchange has a :class:`Budget`: a document has one deadline over connecting, headers and body; a blob has it for its
headers, and for its body a least rate, measured while we wait for the server (a slow disk of ours is not its fault).

**Place.** A public registry may redirect us, or name a token service, anywhere it likes, also to what only we can
reach: loopback, the cloud's metadata service, the private network. Addresses are sorted by :class:`Reach`, and the
name is resolved here, so that the address that was checked is the address that is connected to:

    PUBLIC < PRIVATE < LOOPBACK        a registry may send us as deep as it lies itself, never deeper
    LINK_LOCAL                         only from link-local to link-local
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from ssl import SSLContext
from typing import Any

import httpcore

from prestow.errors import InvalidError, UnavailableError
from prestow.registry.hosts import Timeouts
from prestow.registry.url import address_of

_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
_LEAST_WAIT = 0.001  # seconds; 0 would mean not to wait at all


class Reach(IntEnum):
    """How deep in our own networks an address lies."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    LINK_LOCAL = 3

    @classmethod
    def of(cls, host: str) -> "Reach":
        """Sort an address; what is not an ordinary public one counts as private."""
        address = address_of(host.partition("%")[0])
        if address is None:
            return cls.PRIVATE
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_loopback or address.is_unspecified:
            return cls.LOOPBACK
        if address.is_link_local:
            return cls.LINK_LOCAL
        return cls.PUBLIC if address.is_global and not address.is_multicast else cls.PRIVATE

    def allows(self, other: "Reach") -> bool:
        """Whether a server at this reach may send us to ``other``."""
        return other == self or (other < self and other is not Reach.LINK_LOCAL)


class Budget:
    """The time that one exchange may still take.

    Args:
        timeouts: bounds in seconds.
        clock: monotonic, in seconds.
    """

    def __init__(self, timeouts: Timeouts, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock of a whole exchange."""
        self._timeouts = timeouts
        self._clock = clock
        self._deadline: float | None = clock() + timeouts.exchange
        self._waited = 0.0
        self._received = 0

    def stream(self) -> None:
        """Go over from the deadline to the least rate: headers are there, the body of a blob follows."""
        self._deadline = None
        self._waited, self._received = 0.0, 0

    def left(self, longest: float) -> float:
        """Give how many seconds the next wait may take, ``longest`` at most.

        Raises:
            UnavailableError: none.
        """
        if self._deadline is None:
            return longest
        left = self._deadline - self._clock()
        if left <= 0:
            raise UnavailableError(f"the server took more than {self._timeouts.exchange:g} s to answer")
        return max(min(longest, left), _LEAST_WAIT)

    def receive(self, read: Callable[[float], bytes]) -> bytes:
        """Wait for bytes.

        Raises:
            UnavailableError: they come too slowly.
        """
        started = self._clock()
        data = read(self.left(self._timeouts.idle))
        self._waited += self._clock() - started
        self._received += len(data)
        if self._waited >= self._timeouts.window:
            self._check_rate()
        return data

    def _check_rate(self) -> None:
        if self._deadline is None and self._received < self._timeouts.rate * self._waited:
            raise UnavailableError(
                f"the server sent {self._received} bytes in {self._waited:.0f} s of waiting; "
                f"at least {self._timeouts.rate} a second are expected"
            )
        self._waited, self._received = 0.0, 0


class Budgets(threading.local):
    """The budget of the exchange that the present thread is in (the connection pool hands no such thing through)."""

    current: Budget | None = None

    @contextmanager
    def using(self, budget: Budget) -> Iterator[None]:
        """Let the reads of this thread count on ``budget``."""
        before, self.current = self.current, budget
        try:
            yield
        finally:
            self.current = before


class Stream(httpcore.NetworkStream):
    """A connection that reads on the budget of the present exchange.

    Args:
        stream: the connection itself.
        peer: address and port that it was made to; the socket forgets them when the other side resets it.
        budgets: the budgets of all threads.
    """

    def __init__(self, stream: httpcore.NetworkStream, peer: tuple[str, int], budgets: Budgets) -> None:
        """Wrap a connection."""
        self._stream = stream
        self._peer = peer
        self._budgets = budgets

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Wait for at most ``max_bytes``."""
        budget = self._budgets.current
        if budget is None:
            return self._stream.read(max_bytes, timeout)
        return budget.receive(lambda longest: self._stream.read(max_bytes, longest))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of ``buffer``."""
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Give this connection under TLS."""
        return Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._peer, self._budgets)

    def get_extra_info(self, info: str) -> Any:
        """Give what is known of the connection, by httpcore's names."""
        return self._peer if info == "server_addr" else self._stream.get_extra_info(info)


class Network(httpcore.NetworkBackend):
    """Connects to addresses within one reach.

    Args:
        limit: the deepest reach.
        budgets: the budgets of all threads.
    """

    def __init__(self, limit: Reach | None, budgets: Budgets) -> None:
        """Restrict connections to what a server at ``limit`` may name; ``None`` is everywhere."""
        self._limit = limit
        self._budgets = budgets
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of ``host`` that answers, each given its part of the time.

        Raises:
            InvalidError: the name leads to a place where whoever named it may not send us.
            httpcore.ConnectError: the name is unknown, or no address answers.
        """
        addresses = self._allowed(host, port)
        budget = self._budgets.current
        for position, address in enumerate(addresses, start=1):
            left = timeout or 0 if budget is None else budget.left(timeout or 0)
            part = left / (len(addresses) - position + 1)
            try:
                stream = self._sockets.connect_tcp(address, port, part, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if position == len(addresses):
                    raise
            else:
                return Stream(stream, (address, port), self._budgets)
        raise httpcore.ConnectError(f"{host} has no address")

    def _allowed(self, host: str, port: int) -> list[str]:
        """Resolve a name to addresses, in the system's order; all of them have to be allowed."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host}: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if self._limit is not None and not self._limit.allows(Reach.of(address)):
                raise InvalidError(
                    f"{host} lies at {address}, in our own network; a registry that lies outside may not send us there"
                )
        return addresses
