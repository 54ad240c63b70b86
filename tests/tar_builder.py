r"""Tar archives byte by byte, honest and hostile.

:class:`Tar` adds members in order. What it is asked for it writes, whether that makes sense or not: any type flag,
name, number or checksum. Left alone it writes what GNU tar and umoci read back.

>>> Tar().directory("etc").file("etc/motd", b"hello").to_bytes()[257:263]
b'ustar\x00'
"""

from collections.abc import Mapping
from typing import Any, Self

BLOCK = 512
USTAR = b"ustar\x0000"
GNU = b"ustar  \x00"

_NAME_SIZE = 100
_FIELDS = {"mode": 8, "uid": 8, "gid": 8, "size": 12, "mtime": 12, "devmajor": 8, "devminor": 8}
_CHECKSUM = slice(148, 156)

Text = str | bytes


def octal(value: int, width: int) -> bytes:
    """Return a number in octal with the NUL at its end, as ustar has it."""
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    """Return a number in binary with the high bit set, as GNU tar writes what octal cannot say."""
    return bytes([0x80 | ((value >> (8 * (width - 1))) & 0x7F)]) + (value % (1 << 8 * (width - 1))).to_bytes(width - 1)


def header(
    name: Text,
    *,
    typeflag: bytes = b"0",
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    size: int | bytes = 0,
    mtime: int | bytes = 0,
    link: Text = b"",
    uname: Text = b"",
    gname: Text = b"",
    devmajor: int | bytes = 0,
    devminor: int | bytes = 0,
    prefix: Text = b"",
    magic: bytes = USTAR,
    checksum: bytes | None = None,
) -> bytes:
    """Return one header block; a number given as bytes is written as it is, and so is a checksum."""
    numbers = {"mode": mode, "uid": uid, "gid": gid, "size": size, "mtime": mtime}
    block = b"".join([
        _padded(name, _NAME_SIZE),
        *(_number(value, _FIELDS[field]) for field, value in numbers.items()),
        b" " * 8,
        typeflag,
        _padded(link, _NAME_SIZE),
        magic,
        _padded(uname, 32),
        _padded(gname, 32),
        _number(devmajor, _FIELDS["devmajor"]),
        _number(devminor, _FIELDS["devminor"]),
        _padded(prefix, 155),
    ]).ljust(BLOCK, b"\0")  # fmt: skip
    total = checksum if checksum is not None else b"%06o\0 " % sum(block)
    return block[: _CHECKSUM.start] + total + block[_CHECKSUM.stop :]


def records(fields: Mapping[str, Text]) -> bytes:
    """Return PAX records, each with its own length in front."""
    return b"".join(record(keyword, _bytes(value)) for keyword, value in fields.items())


def record(keyword: str, value: bytes) -> bytes:
    """Return one PAX record."""
    body = b" " + keyword.encode() + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


class Tar:
    """An archive under construction; every method adds to its end and gives the archive back."""

    def __init__(self) -> None:
        """Start empty."""
        self._parts: list[bytes] = []

    def raw(self, data: bytes) -> Self:
        """Add bytes as they are, blocks or not."""
        self._parts.append(data)
        return self

    def member(
        self,
        name: Text,
        data: bytes = b"",
        *,
        pax: Mapping[str, Text] | None = None,
        xattrs: Mapping[str, Text] | None = None,
        **fields: Any,
    ) -> Self:
        """Add a member with any header ``fields`` (see :func:`header`); long names and xattrs become PAX records."""
        extended = dict(pax or {}) | {f"SCHILY.xattr.{key}": value for key, value in (xattrs or {}).items()}
        if len(_bytes(name)) > _NAME_SIZE:
            extended.setdefault("path", name)
        if len(_bytes(fields.get("link") or b"")) > _NAME_SIZE:
            extended.setdefault("linkpath", fields["link"] or b"")
        if extended:
            self.pax(extended)
        fields.setdefault("size", len(data))
        return self.raw(header(name, **fields) + _blocks(data))

    def file(self, name: Text, data: bytes = b"", **fields: Any) -> Self:
        """Add a regular file."""
        return self.member(name, data, **fields)

    def directory(self, name: Text, **fields: Any) -> Self:
        """Add a directory, mode 755; its name gets a slash at the end."""
        return self.member(_bytes(name).rstrip(b"/") + b"/", **{"typeflag": b"5", "mode": 0o755, **fields})

    def symlink(self, name: Text, link: Text, **fields: Any) -> Self:
        """Add a symbolic link to ``link``."""
        return self.member(name, **{"typeflag": b"2", "mode": 0o777, "link": link, **fields})

    def hardlink(self, name: Text, link: Text, **fields: Any) -> Self:
        """Add a further name of the member ``link``."""
        return self.member(name, **{"typeflag": b"1", "link": link, **fields})

    def char(self, name: Text, major: int, minor: int, **fields: Any) -> Self:
        """Add a character device."""
        return self.member(name, **{"typeflag": b"3", "devmajor": major, "devminor": minor, **fields})

    def block(self, name: Text, major: int, minor: int, **fields: Any) -> Self:
        """Add a block device."""
        return self.member(name, **{"typeflag": b"4", "devmajor": major, "devminor": minor, **fields})

    def fifo(self, name: Text, **fields: Any) -> Self:
        """Add a named pipe."""
        return self.member(name, **{"typeflag": b"6", **fields})

    def whiteout(self, name: str) -> Self:
        """Add the mark that removes ``name`` of the layers below."""
        folder, slash, last = name.rpartition("/")
        return self.file(f"{folder}{slash}.wh.{last}", mode=0)

    def opaque(self, folder: str) -> Self:
        """Add the mark that hides what the layers below have in ``folder``."""
        return self.file(f"{folder}/.wh..wh..opq", mode=0)

    def pax(self, fields: Mapping[str, Text]) -> Self:
        """Add an extended header for the next member."""
        return self.extension(b"x", records(fields))

    def pax_global(self, fields: Mapping[str, Text]) -> Self:
        """Add an extended header for all members that follow."""
        return self.extension(b"g", records(fields))

    def gnu_long_name(self, name: Text) -> Self:
        """Add the GNU header that names the next member."""
        return self.extension(b"L", _bytes(name) + b"\0", name="././@LongLink", magic=GNU)

    def gnu_long_link(self, link: Text) -> Self:
        """Add the GNU header that names the target of the next member."""
        return self.extension(b"K", _bytes(link) + b"\0", name="././@LongLink", magic=GNU)

    def extension(self, typeflag: bytes, data: bytes, name: Text = "PaxHeaders/x", **fields: Any) -> Self:
        """Add a header that extends others, with any content."""
        fields.setdefault("size", len(data))
        return self.raw(header(name, typeflag=typeflag, **fields) + _blocks(data))

    def to_bytes(self, *, end: int = 2) -> bytes:
        """Return the archive, closed with ``end`` zero blocks."""
        return b"".join(self._parts) + bytes(end * BLOCK)


def _number(value: int | bytes, width: int) -> bytes:
    if isinstance(value, bytes):
        return value.ljust(width, b"\0")
    return octal(value, width) if 0 <= value < 8 ** (width - 1) else base256(value, width)


def _padded(text: Text, width: int) -> bytes:
    return _bytes(text)[:width].ljust(width, b"\0")


def _blocks(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def _bytes(text: int | Text) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)
