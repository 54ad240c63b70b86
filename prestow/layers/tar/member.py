"""Members of a tar: what header block and PAX records say together; a record goes before the field of the block."""

from prestow.layers.tar.header import Header, number
from prestow.layers.tar.pax import XATTR, Fields, bad, decimal, nanoseconds

MAX_ID = 2**32 - 2
"""The largest owner: 2³²-1 means "leave as it is" to chown(2)."""

EARLIEST, LATEST = -(2**31) * 10**9, 15_032_385_535 * 10**9
"""What ext4 can say of time, 1901 to 2446, in ns; what lies outside becomes the nearer of the two."""

_SECOND = 10**9
_MAX_MAJOR, _MAX_MINOR = 2**12 - 1, 2**20 - 1


def owner(record: bytes | None, value: int, offset: int) -> int:
    """Return a user or group number: the record's, or else ``value``.

    Raises:
        InvalidError: Linux has no such owner.
    """
    if record:
        value = decimal(record, "owner", offset)
    if not 0 <= value <= MAX_ID:
        raise bad(f"owner {value}; allowed are 0 to {MAX_ID}", offset)
    return value


def mtime(record: bytes | None, seconds: int, offset: int) -> int:
    """Return a time in ns: the record's, or else ``seconds``, within what a file system can say.

    Raises:
        InvalidError: the record is no decimal number.
    """
    time = nanoseconds(record, offset) if record else seconds * _SECOND
    return time if EARLIEST <= time <= LATEST else max(EARLIEST, min(time, LATEST))


def device(header: Header, fields: Fields, offset: int) -> tuple[int, int]:
    """Return the numbers of a device.

    Raises:
        InvalidError: Linux has no such device.
    """
    major = _device_number(b"SCHILY.devmajor", header.major if header.has_device else b"0", fields, offset)
    minor = _device_number(b"SCHILY.devminor", header.minor if header.has_device else b"0", fields, offset)
    if not (0 <= major <= _MAX_MAJOR and 0 <= minor <= _MAX_MINOR):
        raise bad(f"device {major}:{minor}; the largest that Linux has is {_MAX_MAJOR}:{_MAX_MINOR}", offset)
    return major, minor


def _device_number(keyword: bytes, field: bytes, fields: Fields, offset: int) -> int:
    record = fields.get(keyword)
    return decimal(record, keyword.decode(), offset) if record else number(field, offset)


def xattrs(fields: Fields) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes, sorted by name."""
    return tuple(sorted((key.removeprefix(XATTR), value) for key, value in fields.items() if key.startswith(XATTR)))
