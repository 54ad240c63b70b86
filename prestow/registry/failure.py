"""What a status of a registry means for us, and what it says about it (distribution-spec, "Error Codes").

    401, 403                 UnauthorizedError
    404                      NotFoundError
    408, 425, 429, 5xx       UnavailableError, with the registry's own Retry-After; but 501 and 505 are for good
    everything else          InvalidError

The body is the other side's: at most 4 KiB are read and one line is shown. Where the request carried a credential, in a
header or in its body, only the error's code is: its message could echo the secret.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from prestow.errors import (
    InvalidError,
    NotFoundError,
    PrestowError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedError,
    printable,
)
from prestow.registry.http import Response

_LARGEST = 4096
_SECONDS = re.compile(r"[0-9]{1,20}", re.ASCII)
_CODE = re.compile(r"[A-Z_]{1,64}", re.ASCII)
_LONGEST_WAIT = 3600.0
_TRANSIENT = frozenset({408, 425, 429})
_FOR_GOOD = frozenset({501, 505})


def failure(response: Response, what: str) -> PrestowError:
    """Return the error that an answer's status stands for; ``what`` says what was asked for."""
    status = response.status
    text = f"{what}: {response.request.url.origin} answered {_phrase(status)}{_detail(response)}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return UnauthorizedError(f"{text}; {response.advice or 'log in, or ask for access'}")
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(text)
    if status in _FOR_GOOD:
        return UnsupportedError(text)
    if status in _TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError(text, retry_after=retry_after(response.every("Retry-After")))
    return InvalidError(text)


def retry_after(values: tuple[str, ...], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Return the seconds of a ``Retry-After`` header, a number or a date; an hour at most, ``None`` for nonsense."""
    if not values:
        return None
    if _SECONDS.fullmatch(values[0]):
        return min(float(values[0]), _LONGEST_WAIT)
    try:
        then = parsedate_to_datetime(values[0])
    except ValueError:
        return None
    seconds = (then.replace(tzinfo=then.tzinfo or UTC) - now()).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _detail(response: Response) -> str:
    """Return the registry's own words, `` (CODE: message)``, or nothing."""
    body = b""
    try:
        for chunk in response.chunks():
            body += chunk[:_LARGEST]
            if len(body) >= _LARGEST:
                break
    except PrestowError:
        return ""
    code, message = _words(body[:_LARGEST])
    if not _CODE.fullmatch(code):
        return ""
    secret = response.request.private or response.request.content
    return f" ({code})" if secret or not message else f" ({code}: {printable(message)})"


def _words(body: bytes) -> tuple[str, str]:
    """Return code and message of the first error in an error body."""
    try:
        first: Any = json.loads(body)["errors"][0]
        return str(first["code"]), str(first.get("message") or "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""
