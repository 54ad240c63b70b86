"""Extended attributes: what the kernel would refuse to set, told before anything is written.

An extracted file meets the kernel's checks when the attribute is set. A metadata image meets none: a malformed access
control list would only fail when a process opens the file. So both sinks ask here, and refuse the same images.

    name  ::= space "." rest           255 bytes at most; value 65535 at most (E2BIG, ERANGE of setxattr(2))
    security.capability                struct vfs_cap_data, revision 2 or 3 (capability.h)
    system.posix_acl_{access,default}  struct posix_acl_xattr_header and entries in their order (posix_acl_xattr.h)
"""

import struct

from prestow.errors import InvalidError, printable
from prestow.layers.tar.entry import Kind

MAX_NAME = 255
MAX_VALUE = 65535

CAPABILITY = b"security.capability"
ACL_ACCESS = b"system.posix_acl_access"
ACL_DEFAULT = b"system.posix_acl_default"

_CAPABILITY_SIZE = {0x02000000: 20, 0x03000000: 24}
_EFFECTIVE = 1

_ACL_HEADER = (2).to_bytes(4, "little")
_ACL_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_RWX = 7


def check(kind: Kind, name: bytes, value: bytes) -> None:
    """Refuse what setxattr(2) refuses on every file system.

    Raises:
        InvalidError: name or value too long, or a malformed capability or access control list.
    """
    if len(name) > MAX_NAME:
        raise _refusal(name, f"the name has {len(name)} bytes; at most {MAX_NAME} are possible")
    if len(value) > MAX_VALUE:
        raise _refusal(name, f"the value has {len(value)} bytes; at most {MAX_VALUE} are possible")
    if name == CAPABILITY:
        _check_capability(name, value)
    elif name in {ACL_ACCESS, ACL_DEFAULT}:
        _check_acl(kind, name, value)


def _refusal(name: bytes, reason: str) -> InvalidError:
    return InvalidError(f"extended attribute {printable(name)!r}: {reason}")


def _check_capability(name: bytes, value: bytes) -> None:
    magic = int.from_bytes(value[:4], "little") & ~_EFFECTIVE
    if _CAPABILITY_SIZE.get(magic) != len(value):
        raise _refusal(name, f"not a file capability of revision 2 (20 bytes) or 3 (24 bytes), but {len(value)} bytes")


def _check_acl(kind: Kind, name: bytes, value: bytes) -> None:
    if name == ACL_DEFAULT and kind is not Kind.DIRECTORY:
        raise _refusal(name, "only a directory has a default access control list")
    body = value.removeprefix(_ACL_HEADER)
    if len(body) == len(value) or len(body) % _ACL_ENTRY.size:
        raise _refusal(name, "not an access control list of version 2")
    entries = list(_ACL_ENTRY.iter_unpack(body))
    tags = [tag for tag, _, _ in entries]
    single = all(tags.count(tag) == 1 for tag in (_USER_OBJ, _GROUP_OBJ, _OTHER)) and tags.count(_MASK) <= 1
    needs_mask = _USER in tags or _GROUP in tags
    known = all(tag in {_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER} for tag in tags)
    if not known or tags != sorted(tags) or not single or (needs_mask and _MASK not in tags):
        raise _refusal(name, "the entries of the access control list are not complete and in order")
    if any(permissions & ~_RWX for _, permissions, _ in entries):
        raise _refusal(name, "the access control list grants more than read, write and execute")
