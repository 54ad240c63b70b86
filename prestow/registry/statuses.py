"""What the status of an answer means for us, be it a registry's or a proxy's (RFC 9110, section 15).

    401, 403                 UnauthorizedError
    404                      NotFoundError
    408, 425, 429, 5xx       UnavailableError; but 501 and 505 are for good
    everything else          InvalidError

So a status alone decides whether a retry can help.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from prestow.errors import (
    InvalidError,
    NotFoundError,
    PrestowError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedError,
)

_SECONDS = re.compile(r"[0-9]{1,20}", re.ASCII)
LONGEST_WAIT = 86400.0
"""Seconds of the longest wait that a server is believed to ask for."""
PATIENCE = 300.0
"""Seconds of the longest wait that a step begins; a longer one is an error at once."""

_TRANSIENT = frozenset({408, 425, 429})
_FOR_GOOD = frozenset({501, 505})


def error_class(status: int) -> type[PrestowError]:
    """Return the class of error that a status stands for."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return UnauthorizedError
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError
    if status in _FOR_GOOD:
        return UnsupportedError
    if status in _TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError
    return InvalidError


def phrase(status: int) -> str:
    """Return a status with its standard words, ``404 Not Found``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def retry_after(values: Sequence[str], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Return the seconds of a ``Retry-After`` header, a number or a date; a day at most, ``None`` for nonsense."""
    if not values:
        return None
    if _SECONDS.fullmatch(values[0]):
        return min(float(values[0]), LONGEST_WAIT)
    try:
        then = parsedate_to_datetime(values[0])
    except ValueError:
        return None
    seconds = (then.replace(tzinfo=then.tzinfo or UTC) - now()).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT)
