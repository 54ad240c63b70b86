"""What a registry's refusal means for us, and what it says about it (distribution-spec, "Error Codes").

The status decides the class of the error (``statuses.py``). The body is the other side's: at most 4 KiB are read and
one line is shown. Where we proved who we are, only the error's code is: its message could echo the secret.
"""

import json
import re
from http import HTTPStatus
from typing import Any

from prestow.errors import PrestowError, UnauthorizedError, UnavailableError, printable
from prestow.registry.http import Response
from prestow.registry.statuses import error_class, phrase, retry_after

LOG_IN = "log in, or ask for access"
"""What is advised where nothing more is known."""

_LARGEST = 4096
_CODE = re.compile(r"[A-Z_]{1,64}", re.ASCII)
_NO_CERTIFICATE = (b"No required SSL certificate was sent", b"The SSL certificate error")  # nginx, with status 400


def failure(response: Response, what: str) -> PrestowError:
    """Return the error that an answer's status stands for; ``what`` says what was asked for."""
    kind = error_class(response.status)
    url, proxy = response.request.url, response.request.proxy
    through = f" through the proxy {proxy}" if proxy and url.scheme == "http" else ""  # it may be the proxy's answer
    body = _beginning(response)
    text = f"{what}: {url.origin} answered {phrase(response.status)}{through}{_detail(response, body)}"
    if response.status == HTTPStatus.BAD_REQUEST and any(words in body for words in _NO_CERTIFICATE):
        advice = "the server wants a client certificate that it trusts; name one as `client` in the hosts file"
        return UnauthorizedError(f"{text}: {advice}")
    if kind is UnauthorizedError:
        text += f"; {response.advice or LOG_IN}"
    return kind(text, retry_after=retry_after(response.every("Retry-After")) if kind is UnavailableError else None)


def _beginning(response: Response) -> bytes:
    """Return what is shown of a body, or nothing where it breaks off."""
    body = b""
    try:
        for chunk in response.chunks():
            body += chunk[:_LARGEST]
            if len(body) >= _LARGEST:
                break
    except PrestowError:
        return b""
    return body[:_LARGEST]


def _detail(response: Response, body: bytes) -> str:
    """Return the registry's own words, `` (CODE: message)``, or nothing."""
    code, message = _words(body)
    if not _CODE.fullmatch(code):
        return ""
    return f" ({code})" if response.knows_secrets or not message else f" ({code}: {printable(message)})"


def _words(body: bytes) -> tuple[str, str]:
    """Return code and message of the first error in an error body."""
    try:
        first: Any = json.loads(body)["errors"][0]
        return str(first["code"]), str(first.get("message") or "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""
