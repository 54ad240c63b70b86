r"""Who a container's process is (image-spec, config.md, "User"; conversion.md, "Config.User").

    field ::= "" | user [ ":" group ]
    user  ::= uid | name
    group ::= gid | name
    uid, gid ::= [0-9]+                                 at most 2³¹-1
    name  ::= [A-Za-z_] [A-Za-z0-9_.@\-]* [ "$" ]

A number never becomes a name: image authors have put lines such as ``4294967296:x:0:0`` into the passwd file to make
root of a number that is out of range. Neither half may be empty.

======================  ===========================  =================================================
field                   gid                          additional gids
======================  ===========================  =================================================
empty                   0                            0, and of the groups that list ``root``
``name``                of the passwd line           that gid, and of the groups that list the name
``uid``                 of the passwd line, else 0   none
with a group            the group's                  none
======================  ===========================  =================================================

Only the image's own ``/etc/passwd`` and ``/etc/group`` are asked; the first line that matches counts, as it does for
getpwnam(3). The home directory comes from the passwd line of the user, by name or by number.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prestow.errors import InvalidError, NotFoundError, printable
from prestow.runtime.rootfs import RootFs

_FILE_LIMIT = 10 << 20
_MAX_ID = 2**31 - 1
_MAX_DIGITS = 10
_MAX_GROUPS = 65536  # NGROUPS_MAX
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.@\\-]{0,254}\$?")
_NUMBER = re.compile(r"[0-9]+", re.ASCII)
_PASSWD, _GROUP = "/etc/passwd", "/etc/group"


@dataclass(frozen=True, slots=True)
class User:
    """A user as the kernel knows one, and its home directory.

    Attributes:
        uid: user.
        gid: primary group.
        additional_gids: supplementary groups.
        home: absolute path; ``/root`` or ``/`` where the image does not say.
    """

    uid: int
    gid: int
    additional_gids: tuple[int, ...] = ()
    home: str = "/"


def resolve_user(field: str, rootfs: RootFs) -> User:
    """Look a ``User`` field up in the image.

    Raises:
        InvalidError: the field or the line that it names breaks the grammar, or a file is not one to be read.
        NotFoundError: the image has no such user or group.
    """
    if field == "":
        found = _by_uid(0, rootfs)
        return User(0, 0, _memberships("root", 0, rootfs), found.home)
    user, colon, group = field.partition(":")
    uid, gid = _id(user, field), _id(group, field) if colon else None
    found = _by_uid(uid, rootfs) if isinstance(uid, int) else _by_name(uid, rootfs)
    if gid is not None:
        return User(found.uid, gid if isinstance(gid, int) else _group(gid, rootfs), (), found.home)
    if isinstance(uid, int):
        return found
    return User(found.uid, found.gid, _memberships(uid, found.gid, rootfs), found.home)


def _id(half: str, field: str) -> int | str:
    """Read one half: a number, or a name that cannot be taken for one."""
    if _NUMBER.fullmatch(half):
        digits = half.lstrip("0") or "0"
        if len(digits) > _MAX_DIGITS or int(digits) > _MAX_ID:
            raise InvalidError(f"user {printable(field)!r}: {printable(half, 20)} is not an id from 0 to {_MAX_ID}")
        return int(digits)
    if _NAME.fullmatch(half):
        return half
    raise InvalidError(f"user {printable(field)!r}: expected user[:group], each a name or a number from 0 to {_MAX_ID}")


def _by_name(name: str, rootfs: RootFs) -> User:
    for fields in _lines(_PASSWD, re.escape(name.encode()) + rb":[^\n]*", rootfs):
        return _user(fields, name)
    raise NotFoundError(f"user {name!r}: no such user in the image's {_PASSWD}; name another, or a number")


def _by_uid(uid: int, rootfs: RootFs) -> User:
    for fields in _lines(_PASSWD, rb"[^:\n]*:[^:\n]*:0*%d:[^\n]*" % uid, rootfs):
        return _user(fields, str(uid))
    return User(uid, 0, (), "/root" if uid == 0 else "/")


def _user(fields: list[bytes], wanted: str) -> User:
    """Read the fields of a passwd line: name, password, uid, gid, comment, home, shell."""
    fields += [b""] * 6
    uid, gid = _number(fields[2], _PASSWD, wanted), _number(fields[3], _PASSWD, wanted)
    home = fields[5].decode("utf-8", "replace")
    usable = home.startswith("/") and home.isprintable() and "\ufffd" not in home
    return User(uid, gid, (), home if usable else "/root" if uid == 0 else "/")


def _group(name: str, rootfs: RootFs) -> int:
    for fields in _lines(_GROUP, re.escape(name.encode()) + rb":[^\n]*", rootfs):
        return _number([*fields, b"", b""][2], _GROUP, name)
    raise NotFoundError(f"group {name!r}: no such group in the image's {_GROUP}; name another, or a number")


def _memberships(name: str, gid: int, rootfs: RootFs) -> tuple[int, ...]:
    """List a user's groups, the primary one first: without it a set-group-id program would lose it."""
    member = rb"(?:[^:\n]*,)?[ \t]*" + re.escape(name.encode()) + rb"[ \t\r]*(?:,[^\n]*)?"
    gids = {gid: None}
    for fields in _lines(_GROUP, rb"[^:\n]*:[^:\n]*:[^:\n]*:" + member, rootfs):
        gids[_number(fields[2], _GROUP, printable(fields[0]))] = None
        if len(gids) > _MAX_GROUPS:
            raise InvalidError(f"image: {_GROUP} puts user {name!r} into more than {_MAX_GROUPS} groups")
    return tuple(gids)


def _number(digits: bytes, file: str, wanted: str) -> int:
    text = digits.decode("ascii", "replace")
    if not _NUMBER.fullmatch(text) or len(text) > _MAX_DIGITS or int(text) > _MAX_ID:
        line = f"the line of {wanted!r} has {printable(text, 40)!r}"
        raise InvalidError(f"image: {file}: {line} where a number from 0 to {_MAX_ID} is expected")
    return int(text)


def _lines(file: str, pattern: bytes, rootfs: RootFs) -> Iterator[list[bytes]]:
    """Find the lines that match, each cut into at most seven fields; one pass, no list of all lines."""
    for match in re.finditer(rb"^" + pattern + rb"$", rootfs.read(file, _FILE_LIMIT) or b"", re.MULTILINE):
        yield match[0].rstrip(b"\r").split(b":", 6)
