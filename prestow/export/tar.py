"""Headers of an archive's members: POSIX ustar, with extended records where ustar has no room (POSIX pax)."""

BLOCK = 512

_NAME = 100  # bytes
_LARGEST = 0o77777777777  # bytes, of a size in octal
_CHECKSUM = slice(148, 156)


def header(name: str, size: int) -> bytes:
    """Return the header of a regular file, mode 0644, of root, and of no time.

    >>> header("oci-layout", 30)[:10]
    b'oci-layout'
    """
    records = (_record("path", name) if len(name) > _NAME else b"") + (
        _record("size", str(size)) if size > _LARGEST else b""
    )
    extended = (_block("pax", len(records), b"x") + records + bytes(-len(records) % BLOCK)) if records else b""
    return extended + _block(name[:_NAME], min(size, _LARGEST), b"0")


def _block(name: str, size: int, flag: bytes) -> bytes:
    fields = (
        name.encode().ljust(_NAME, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"%011o\0" % 0,
        b" " * 8, flag, bytes(100), b"ustar\x0000", bytes(64), b"0000000\0", b"0000000\0", bytes(155),
    )  # fmt: skip
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[: _CHECKSUM.start] + b"%06o\0 " % sum(block) + block[_CHECKSUM.stop :]


def _record(keyword: str, value: str) -> bytes:
    body = f" {keyword}={value}\n".encode()
    length = len(body) + 2
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body
