"""What a file system and the kernel keep of what is set on an inode: the rules for comparing it afterwards.

time      clamped to the file system's range: from 1901 to 2038 at least, on some to 2486 or without end
list      an access control list follows chmod, and one that says no more than the mode is not kept at all
capability  one of revision 3 whose root is ours reads as revision 2
attribute the host's own labels are none of the image's business; without root only ``user.`` and lists can be set
"""

import errno
import os
import struct
from collections.abc import Iterator

from prestow.errors import printable
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import SECOND, Inode
from prestow.layers.tree.xattrs import ACL_ACCESS, ACL_DEFAULT, CAPABILITY

_LATEST, _EARLIEST = (2**31 - 1) * SECOND, -(2**31) * SECOND  # what every file system can tell; beyond, some clamp
_OF_THE_HOST = {b"security.selinux", b"security.ima", b"security.evm"}
_WITHOUT_ROOT = (b"user.", ACL_ACCESS, ACL_DEFAULT)

_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY = 0xFFFF_FFFF
_REVISION_3, _REVISIONS = 0x0300_0000, 0x0100_0000


def is_omitted(inode: Inode) -> bool:
    """Whether it is nothing that an ordinary user can make."""
    return inode.kind in {Kind.CHAR, Kind.BLOCK}


def same_time(found: int, expected: int) -> bool:
    """Whether a time is the one that was set, as far as a file system can tell it."""
    return found == expected or _LATEST <= found < expected or expected < found <= _EARLIEST


def xattr_faults(inode: Inode, descriptor: int, *, privileged: bool) -> Iterator[str]:
    """Yield which extended attributes of an inode, open for its path alone, differ from those of the tree."""
    itself = f"/proc/self/fd/{descriptor}"
    expected = dict(_expected(inode, privileged=privileged))
    try:
        names = {os.fsencode(name) for name in os.listxattr(itself)}
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return  # a file system without any; that was said when the folder was made
    for name in sorted(names - expected.keys() - _OF_THE_HOST):
        yield f"extended attribute {printable(name)!r} is not in the image"
    for name in sorted(expected):
        yield from _value_fault(itself, name, expected[name])


def _value_fault(itself: str, name: bytes, expected: bytes) -> Iterator[str]:
    try:
        value = _normal(name, os.getxattr(itself, name))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            yield f"extended attribute {printable(name)!r} is missing"
    else:
        if value != expected:
            yield f"extended attribute {printable(name)!r} has another value"


def _expected(inode: Inode, *, privileged: bool) -> Iterator[tuple[bytes, bytes]]:
    for name, value in inode.xattrs:
        if not privileged and not name.startswith(_WITHOUT_ROOT):
            continue
        if name == ACL_ACCESS:
            entries = list(_ENTRY.iter_unpack(value[_VERSION.size :]))
            if len(entries) > len((_USER_OBJ, _GROUP_OBJ, _OTHER)):
                yield name, _normal(name, value[: _VERSION.size] + _after_chmod(entries, inode.mode))
        else:
            yield name, _normal(name, value)


def _after_chmod(entries: list[tuple[int, int, int]], mode: int) -> bytes:
    """Return the entries of a list after the mode was set: its group's bits are the mask's, where there is one."""
    of_mode = {_USER_OBJ: mode >> 6 & 7, _OTHER: mode & 7}
    masked = any(tag == _MASK for tag, _, _ in entries)
    of_mode[_MASK if masked else _GROUP_OBJ] = mode >> 3 & 7
    return b"".join(_ENTRY.pack(tag, of_mode.get(tag, bits), owner) for tag, bits, owner in entries)


def _normal(name: bytes, value: bytes) -> bytes:
    """Return the one form of a value that may be told in several."""
    if name in {ACL_ACCESS, ACL_DEFAULT}:
        entries = _ENTRY.iter_unpack(value[_VERSION.size :])
        named = {_USER, _GROUP}
        packed = (_ENTRY.pack(tag, bits, owner if tag in named else _NOBODY) for tag, bits, owner in entries)
        return value[: _VERSION.size] + b"".join(packed)
    if name == CAPABILITY and value.endswith(bytes(4)):
        (magic,) = _VERSION.unpack(value[: _VERSION.size])
        if magic & ~1 == _REVISION_3:
            return _VERSION.pack(magic - _REVISIONS) + value[_VERSION.size : -4]
    return value
