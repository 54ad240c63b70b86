"""How long and how often clients of the server may hold a connection."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for clients; times are in seconds.

    Attributes:
        idle: wait for the first byte of a request.
        head: wait for the rest of its head.
        window: period over which the rate of an answer is measured.
        rate: least bytes a second that a client must take of an answer.
        connections: connections at one time.
        per_client: connections of one address at one time; an IPv6 client is its /64. Loopback has no such limit: a
            reverse proxy there speaks for many clients.
    """

    idle: float = 60
    head: float = 10
    window: float = 30
    rate: int = 1024
    connections: int = 1024
    per_client: int = 64
