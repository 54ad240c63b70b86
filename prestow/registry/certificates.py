"""TLS: what a server is verified by, and what a connection that fails is called."""

import socket
import ssl
from typing import TypeVar

import certifi

from prestow.errors import (
    InvalidError,
    PrestowError,
    UnauthorizedError,
    UnavailableError,
    UnknownHostError,
    printable,
)
from prestow.registry.hosts import Tls

_T = TypeVar("_T")
_NO_SUCH_NAME = (socket.EAI_NONAME, socket.EAI_NODATA)
_ALERTS = ("CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_UNKNOWN_CA")


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return a context that trusts the system's certificates and those of ``tls``.

    Raises:
        InvalidError: a file of certificates cannot be read, or has none.
    """
    paths = ssl.get_default_verify_paths()
    system = paths.cafile or paths.capath
    try:
        context = ssl.create_default_context(cafile=None if system else certifi.where())
        for file in tls.ca:
            context.load_verify_locations(file)
        for certificate, key in tls.clients:
            context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl's errors are of this kind, too
        files = [*map(str, tls.ca), *(str(file) for pair in tls.clients for file in pair if file)]
        raise InvalidError(f"TLS certificates {', '.join(files)}: {error}") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def broken(server: str, error: Exception) -> PrestowError:
    """Return our error for a connection that broke, perhaps for the want of our certificate (RFC 8446, 6.2)."""
    text = printable(str(error))
    if any(alert in text for alert in _ALERTS):
        return UnauthorizedError(
            f"{server}: the server wants a client certificate that it trusts; name one as `client` in the hosts file"
        )
    return UnavailableError(f"{server}: the connection broke: {text}")


def connection_error(server: str, error: Exception, *, plain: str, unknown: str) -> PrestowError:
    """Return our error for a connection, or a TLS handshake, that failed.

    Args:
        server: what was connected to, as the message begins.
        error: what httpx or httpcore raised; the error of ssl or DNS is among its causes.
        plain: how to say that the server speaks no TLS on purpose.
        unknown: what to do where DNS has no address for the server's name.
    """
    name = _cause(error, socket.gaierror)
    if name is not None:
        kind = UnknownHostError if name.errno in _NO_SUCH_NAME else UnavailableError
        return kind(f"{server}: no connection: {name.strerror}; {unknown}")
    cause = _cause(error, ssl.SSLError)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return InvalidError(f"{server}: the server's certificate is not trusted: {printable(cause.verify_message)}")
    if cause is not None and cause.reason == "WRONG_VERSION_NUMBER":
        return InvalidError(f"{server}: the server does not speak TLS; {plain}")
    return UnavailableError(f"{server}: no connection: {printable(str(error))}")


def _cause(error: BaseException, kind: type[_T]) -> _T | None:
    """Return the first error of a kind in a chain of causes."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, kind):
        cause = cause.__cause__ or cause.__context__
    return cause
