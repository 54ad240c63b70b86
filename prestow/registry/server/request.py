"""Requests as they come in: h11 is the parser, and what two readers could understand in two ways is refused before.

h11 takes a bare line feed for the end of a line, joins folded lines, lets equal lengths stand for one and prefers a
``Transfer-Encoding`` to a ``Content-Length``. RFC 9112 allows each of these; a proxy in front may see it otherwise and
pass on two requests as one. Bodies are never read: a request that has one is the last of its connection.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

import h11

_LARGEST = 1 << 14  # bytes of a head
_END = b"\r\n\r\n"
_FIRST_LINE = re.compile(rb"[^\r\n]* HTTP/([0-9])\.[0-9]")
_ODD_LINE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\n(?=[ \t])")
_LENGTH = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
_CODING = re.compile(rb"\ntransfer-encoding:", re.IGNORECASE)
_ABSOLUTE = re.compile(r"\Ahttps?://[^/?]*", re.IGNORECASE)


class RefusedError(Exception):
    """A request that gets no answer but ``status``, the last of its connection."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        http: the state of its exchange.
        method: as it came.
        target: path and query.
        wanted_range: the value of ``Range``; ``None`` if there is none, or several.
    """

    http: h11.Connection
    method: str
    target: str
    wanted_range: str | None


class Inbox:
    """The bytes of one connection that no request was made of yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._data = bytearray()
        self._seen = 0
        self._line = False

    def __bool__(self) -> bool:
        """Whether a request has begun."""
        return bool(self._data)

    def add(self, data: bytes) -> None:
        """Append bytes."""
        self._data += data

    def take(self) -> Request | None:
        """Take the next request out; ``None`` while its head is not whole.

        Raises:
            RefusedError: it is ambiguous, malformed or too large.
        """
        end = self._data.find(_END, max(0, self._seen - len(_END)))
        self._look(len(self._data) if end < 0 else end + len(_END))
        if end < 0:
            return None
        head = bytes(self._data[: end + len(_END)])
        del self._data[: len(head)]
        self._seen, self._line = 0, False
        return _parse(head)

    def _look(self, end: int) -> None:
        """Refuse at once a head that cannot become right; each byte is looked at once."""
        if not self._line and (line := self._data.find(b"\r\n", max(0, self._seen - 1), end)) >= 0:
            _check_version(bytes(self._data[:line]))
            self._line = True
        if _ODD_LINE.search(self._data, max(0, self._seen - 1), end):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "a line ends in other than CR LF, or is folded")
        if end > _LARGEST:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if self._line else HTTPStatus.REQUEST_URI_TOO_LONG
            raise RefusedError(status, f"the head is larger than {_LARGEST} bytes")
        self._seen = end


def _check_version(line: bytes) -> None:
    match = _FIRST_LINE.fullmatch(line)
    if match is None:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the first line is no request of HTTP/1")
    if match[1] != b"1":
        raise RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1 is spoken here")


def _parse(head: bytes) -> Request:
    lengths = _LENGTH.findall(head)
    if len(lengths) > 1 or any(b"," in value for value in lengths):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "several values of Content-Length")
    http = h11.Connection(h11.SERVER)
    http.receive_data(head)
    try:
        event = http.next_event()
        http.next_event()  # the end of a request that has no body
    except h11.RemoteProtocolError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
    if not isinstance(event, h11.Request):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "no request")
    if _CODING.search(head) and (lengths or event.http_version != b"1.1"):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "Transfer-Encoding beside Content-Length, or in HTTP/1.0")
    ranges = [value.decode("latin-1") for name, value in event.headers if name == b"range"]
    target = _ABSOLUTE.sub("", event.target.decode("ascii"))
    return Request(http, event.method.decode("ascii"), target, ranges[0] if len(ranges) == 1 else None)
