"""Time and place, the rules: every wait has an end, and no connection leads deeper than is allowed.

**Time.** A timeout for one read bounds nothing: a server that sends a byte now and then never meets it. So each
exchange has a :class:`Budget`: a document has one deadline over connecting, headers and body; a blob has one for its
headers, and for its body a least rate, measured while we wait for the server (a slow disk of ours is not its fault).
Until an answer has begun, only the deadline ends a wait; from then on, so does a pause.

**Place.** A public registry may redirect us, or name a token service, anywhere it likes, also to what only we can
reach: loopback, the cloud's metadata service, the private network. Addresses are sorted by :class:`Reach`, and the
name is resolved by us, so that the address that was checked is the address that is connected to:

    PUBLIC < PRIVATE < LOOPBACK        a registry may send us as deep as it lies itself, never deeper
    LINK_LOCAL                         only from link-local to link-local
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum

import httpcore

from prestow.cancellation import PROMPT, Token, current
from prestow.errors import UnavailableError
from prestow.registry.hosts import Timeouts
from prestow.registry.url import address_of

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
        streams: whether the answer is a blob, and not a document.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, timeouts: Timeouts, *, streams: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Let the time begin with the first wait for the network, not with one for a free connection."""
        self._timeouts = timeouts
        self._clock = clock
        self._patience = timeouts.blob if streams else timeouts.document
        self._longest = self._patience  # of one wait
        self._blob = streams
        self._streams = False
        self._deadline: float | None = None
        self._waited = 0.0
        self._received = 0

    def begin_body(self) -> None:
        """Take note that the headers are there: a blob goes over from the deadline to the least rate."""
        self._longest = self._timeouts.idle
        self._streams = self._blob
        self._waited, self._received = 0.0, 0

    def remaining(self, longest: float) -> float:
        """Return how many seconds the next wait may take, ``longest`` at most.

        Raises:
            UnavailableError: none.
        """
        if self._streams:
            return longest
        if self._deadline is None:
            self._deadline = self._clock() + self._patience
        left = self._deadline - self._clock()
        if left <= 0:
            raise UnavailableError(f"the server took more than {self._patience:g} s to answer")
        return max(min(longest, left), _LEAST_WAIT)

    def receive(self, read: Callable[[float], bytes]) -> bytes:
        """Wait for bytes.

        Raises:
            UnavailableError: they come too slowly.
            CancelledError: the work that waits for them is to end.
        """
        started, token, longest = self._clock(), current(), self.remaining(self._longest)
        data = read(longest) if token is None else self._watched(read, longest, token)
        self._waited += self._clock() - started
        self._received += len(data)
        if self._waited >= self._timeouts.window:
            self._check_rate()
        return data

    def _watched(self, read: Callable[[float], bytes], longest: float, token: Token) -> bytes:
        """Wait in pieces, and look at the token between them."""
        end = self._clock() + longest
        while True:
            token.check()
            left = end - self._clock()
            try:
                return read(max(min(left, PROMPT), _LEAST_WAIT))
            except httpcore.ReadTimeout:
                if left <= PROMPT:
                    raise

    def _check_rate(self) -> None:
        if self._streams and self._received < self._timeouts.rate * self._waited:
            raise UnavailableError(
                f"the server sent {self._received} bytes in {self._waited:.0f} s of waiting; "
                f"at least {self._timeouts.rate:g} a second are expected"
            )
        self._waited, self._received = 0.0, 0


class Budgets(threading.local):
    """The budget of the exchange that the present thread begins (the connection pool hands no such thing through)."""

    current: Budget

    @contextmanager
    def using(self, budget: Budget) -> Iterator[None]:
        """Let what this thread waits for count on ``budget``."""
        self.current = budget
        try:
            yield
        finally:
            del self.current
