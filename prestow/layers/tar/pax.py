"""PAX extended headers (POSIX pax, "Extended Header"): records that correct the header block behind them.

    record  ::= length " " keyword "=" value newline      length: decimal, of the whole record, itself included
    time    ::= ["-"] digits ["." digits]

Numbers are ASCII digits and nothing else: a reader that takes ``1_0``, ``+5`` or a word for a size reads a file's
content as headers. Of a keyword that comes twice the last value counts, but the pairs of GNU's sparse format 0.0,
which are joined to the map of format 0.1.
"""

import re
from typing import NoReturn

from prestow.errors import InvalidError, printable

XATTR = b"SCHILY.xattr."
SPARSE_MAP = b"GNU.sparse.map"
_SPARSE_PAIR = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_NO_NUL = (b"path", b"linkpath", b"GNU.sparse.name")

_LONGEST_NUMBER = 20
_MAX_RECORDS = 65_536
_TIME = re.compile(rb"(-?)([0-9]{1,20})(?:\.([0-9]*))?")
_NANOSECOND_DIGITS = 9

Fields = dict[bytes, bytes]


def bad(reason: str, offset: int) -> InvalidError:
    """Return the error for a tar that is wrong at the header block at ``offset``."""
    return InvalidError(f"tar, byte {offset}: {reason}")


def parse(block: bytes, offset: int) -> Fields:
    """Return the records of an extended header by keyword.

    Raises:
        InvalidError: a record breaks the grammar, or there are too many.
    """
    fields: Fields = {}
    pairs: list[bytes] = []
    position = count = 0
    while position < len(block):
        keyword, value, position = _record(block, position, offset)
        count += 1
        if keyword in _SPARSE_PAIR:
            if keyword != _SPARSE_PAIR[len(pairs) % 2]:
                raise bad("extended header: sparse offsets and sizes do not alternate", offset)
            pairs.append(value)
        fields[keyword] = value
    if count > _MAX_RECORDS:
        raise bad(f"extended header: {count} records; at most {_MAX_RECORDS} are allowed", offset)
    if pairs:
        fields[SPARSE_MAP] = b",".join(pairs)
    for keyword in _NO_NUL:
        if b"\0" in fields.get(keyword, b""):
            raise bad(f"extended header: a zero byte in {keyword.decode()}", offset)
    return fields


def _record(block: bytes, position: int, offset: int) -> tuple[bytes, bytes, int]:
    space = block.find(b" ", position, position + _LONGEST_NUMBER)
    length = block[position:space] if space > 0 else b""
    end = position + int(length) if length.isdigit() else 0
    keyword, equals, value = block[space + 1 : end - 1].partition(b"=")
    if not space < end - 1 < len(block) or block[end - 1 : end] != b"\n" or not keyword or not equals:
        raise bad(f"extended header: malformed record {printable(block[position : position + 40])!r}", offset)
    return keyword, value, end


def decimal(value: bytes, what: str, offset: int) -> int:
    """Read a number that must be ASCII digits.

    Raises:
        InvalidError: it is something else.
    """
    if not value.isdigit() or len(value) > _LONGEST_NUMBER:
        _bad_number(value, what, offset)
    return int(value)


def nanoseconds(value: bytes, offset: int) -> int:
    """Read a time in seconds as ns, cutting digits beyond.

    Raises:
        InvalidError: it is something else than a decimal number.
    """
    match = _TIME.fullmatch(value)
    if match is None:
        _bad_number(value, "mtime", offset)
    sign, seconds, fraction = match.groups()
    ns = int(seconds) * 10**9 + int((fraction or b"").ljust(_NANOSECOND_DIGITS, b"0")[:_NANOSECOND_DIGITS])
    return -ns if sign else ns


def _bad_number(value: bytes, what: str, offset: int) -> NoReturn:
    raise bad(f"{what} {printable(value[:40])!r}: expected decimal digits", offset)
