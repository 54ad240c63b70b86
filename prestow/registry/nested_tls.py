"""TLS inside TLS, which ``ssl`` does for no socket: a registry's connection through a proxy that speaks TLS itself.

httpcore has the same, but its wait is one for each piece from the socket: a record that trickles in would never end.
Here all pieces of a record share the time of one read.
"""

import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import httpcore

_T = TypeVar("_T")

_RECORD = 1 << 14
_LEAST_WAIT = 0.001  # seconds; 0 would mean not to wait at all


class NestedTls(httpcore.NetworkStream):
    """TLS over a stream.

    Args:
        stream: the outer TLS; it is closed if the handshake fails.
        context: how the server proves itself.
        server: its name.
        timeout: of the handshake, in seconds.

    Raises:
        httpcore.ConnectTimeout: the handshake takes too long.
        httpcore.ConnectError: it failed.
    """

    def __init__(
        self, stream: httpcore.NetworkStream, context: ssl.SSLContext, server: str | None, timeout: float
    ) -> None:
        """Shake hands."""
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server)
        try:
            self._perform(self._tls.do_handshake, timeout)
        except httpcore.TimeoutException as error:
            self.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except (ssl.SSLError, ssl.CertificateError, httpcore.NetworkError) as error:
            self.close()
            raise httpcore.ConnectError(str(error)) from error

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Wait for bytes; none are the end, announced or not, as with one TLS: lengths and digests tell more."""
        try:
            return self._perform(partial(self._tls.read, max_bytes), timeout or 0)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        try:
            while buffer:
                buffer = buffer[self._perform(partial(self._tls.write, buffer), timeout or 0) :]
        except ssl.SSLError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the outer stream."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """Return what the outer stream knows; its socket is not for others, since its bytes are not the message's."""
        return None if info == "socket" else self._stream.get_extra_info(info)

    def _perform(self, step: Callable[[], _T], timeout: float) -> _T:
        """Return the result of a step, and move what it needs between the stream and the TLS meanwhile."""
        end = time.monotonic() + timeout
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush(timeout)
            else:
                self._flush(timeout)
                return result
            left = end - time.monotonic()
            if left <= 0:
                raise httpcore.ReadTimeout(f"no whole record of TLS in {timeout:g} s")
            data = self._stream.read(_RECORD, max(left, _LEAST_WAIT))
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _flush(self, timeout: float) -> None:
        if self._outgoing.pending:
            self._stream.write(self._outgoing.read(), timeout)
