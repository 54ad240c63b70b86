"""Ranges of bytes, in requests and in answers (RFC 9110, section 14), pure.

An answer that says 206 and then sends other bytes than were asked for is how partial downloads get corrupted. So a
``Content-Range`` counts only if it is exactly the one that was asked for; everything else means to begin again.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prestow.errors import UnsupportedError

_CONTENT_RANGE = re.compile(  # some servers add spaces, or write "bytes=" as in a request
    r"bytes[ =] *([0-9]{1,19}) *- *([0-9]{1,19}) */ *([0-9]{1,19}|\*)", re.ASCII | re.IGNORECASE
)
_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parts:
    """How a blob is best fetched.

    Attributes:
        connections: how many parts of it at the same time.
        length: bytes of a part.
    """

    connections: int
    length: int


class RangeError(UnsupportedError):
    """A server does not answer with the part that it was asked for.

    Attributes:
        ignored: whether it answers as if no part had been asked for.
    """

    def __init__(self, message: str, *, ignored: bool) -> None:
        """Keep the sentence, and what is wrong."""
        super().__init__(message)
        self.ignored = ignored


def is_part(content_range: str | None, start: int, end: int, size: int) -> bool:
    """Whether a ``Content-Range`` says: from ``start`` up to ``end``, not included, of exactly ``size`` bytes."""
    match = _CONTENT_RANGE.fullmatch((content_range or "").strip())
    if match is None:
        return False
    first, last, total = match.groups()
    return int(first) == start and int(last) == end - 1 and total in ("*", str(size))


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the offsets ``(start, end)``, end not included, that a ``Range`` header selects of ``size`` bytes.

    ``None`` is a range that cannot be satisfied. What is no single range of bytes selects everything, as if the
    header were not there.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not any(match.groups()):
        return 0, size
    first, last = match.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return 0, size  # not a range at all, the RFC says
    return (start, end) if start < end else None


def without(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield what comes after the first ``count`` bytes."""
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[count:] if count else chunk
        count = max(count - len(chunk), 0)
