"""Rows A-48 to A-63: types, modes, owners, times and extended attributes."""

import os
import stat
import struct
from pathlib import Path

from tests.hostile.case import Case, accepted, refused
from tests.tar_builder import Tar, base256, record

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def _is_capable(path: Path) -> bool:
    return _mode(path) == 0o6755 and path.stat().st_uid == 1 and os.getxattr(path, "security.capability") == CAPABILITY


def _is_not_waited_for(root: Path) -> bool:
    """Whether a reader as careful as ours gets past a pipe."""
    descriptor = os.open(root / "etc" / "passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    os.close(descriptor)
    return (root / "etc" / "passwd").is_fifo()


TYPES: list[Case] = [
    accepted(
        "A-48", "the host's disk", Tar().block("sda", 8, 0, mode=0o666).char("mem", 1, 1), shows="mem:c1,1 sda:b8,0"
    ),
    *(
        refused("A-49", f"device number {value}", Tar().char("c", 0, 0, pax={"SCHILY.devmajor": value}), word=word)
        for value, word in {
            "-1": "decimal digits",
            "4294967296": "device 4294967296",
            "2097151": "device 2097151",
        }.items()
    ),
    refused("A-49", "device number of seven octal digits", Tar().block("b", 0o7777777, 0), word="device 2097151:0"),
    refused("A-49", "a negative device number", Tar().block("b", base256(-1, 8), 0), word="device -1:0"),
    accepted(
        "A-50",
        "a pipe where a file is read",
        Tar().fifo("etc/passwd"),
        shows="etc/ etc/passwd|",
        also=_is_not_waited_for,
    ),
    *(
        refused("A-51", f"type {flag.decode()}", Tar().member("x", typeflag=flag), word="unknown type flag")
        for flag in (b"Z", b"7", b"M", b"D", b"V", b"N", b"8")
    ),
    refused("A-51", "type S without GNU's mark", Tar().member("x", typeflag=b"S"), word="unknown type flag"),
    accepted(
        "A-52",
        "records for all",
        Tar().pax_global({"path": "../g", "size": "99", "uid": "x"}).file("x", b"1"),
        shows="x=1",
    ),
    accepted(
        "A-53",
        "set-id bits and a capability",
        Tar().file("f", mode=0o6755, uid=1, xattrs={"security.capability": CAPABILITY}),
        shows="f=",
        also=lambda root: _is_capable(root / "f"),
    ),
    accepted(
        "A-54",
        "a mode of 21 bits",
        Tar().file("f", mode=0o7777777).directory("d", mode=0o1777),
        shows="d/ f=",
        also=lambda root: (_mode(root / "f"), _mode(root / "d")) == (0o7777, 0o1777),
    ),
    *(
        refused(row, f"{key} {value!r}", Tar().file("f", pax={key: value}), word="owner")
        for row, value in (
            ("A-55", "4294967295"),
            ("A-56", "4294967296"),
            ("A-56", "1" + "0" * 20),
            ("A-56", "x"),
            ("A-56", "-1"),
            ("A-56", "+0"),
            ("A-56", "0x0"),
            ("A-56", "1_0"),
            ("A-56", " 0"),
            ("A-56", "\u0660"),
        )
        for key in ("uid", "gid")
    ),
    refused("A-55", "uid 4294967295 in base 256", Tar().file("f", uid=base256(2**32 - 1, 8)), word="owner 4294967295"),
    refused("A-56", "uid -1 in base 256", Tar().file("f", uid=base256(-1, 8)), word="owner -1"),
    refused("A-56", "uid of words", Tar().file("f", uid=b"root\0"), word="expected octal digits"),
    accepted(
        "A-55",
        "uid 4294967294",
        Tar().file("f", pax={"uid": "4294967294"}),
        shows="f=",
        also=lambda root: (root / "f").stat().st_uid == 2**32 - 2,
    ),
    *(
        refused("A-57", f"mtime {value!r}", Tar().file("f", pax={"mtime": value}), word="mtime")
        for value in ("nan", "inf", "-inf", "1e400", "1e30", "x", "1_0", "0x1", " 1", "--1", ".", "٣")
    ),
    *(
        accepted("A-57", f"mtime {label}", tar, shows="f=", also=lambda root: abs((root / "f").stat().st_mtime) < 2**34)
        for label, tar in {
            "of 20 digits": Tar().file("f", pax={"mtime": "9" * 20}),
            "long ago": Tar().file("f", pax={"mtime": "-99999999999.5"}),
            "huge in base 256": Tar().file("f", mtime=base256(2**80, 12)),
            "very negative in base 256": Tar().file("f", mtime=base256(-(2**80), 12)),
            "with many decimals": Tar().file("f", pax={"mtime": "1." + "9" * 300}),
        }.items()
    ),
]

XATTRS: list[Case] = [
    *(
        accepted(
            row,
            f"{name} is the host's or nobody's",
            Tar().file("f", b"1", xattrs={name: "x"}).directory("d", xattrs={name: "x"}),
            shows="d/ f=1",
            also=lambda root: not os.listxattr(root / "f"),
            dropped=[name],
        )
        for row, names in {
            "A-58": ("bogus.a", "x", "USER.a", "system.posix_acl"),
            "A-61": ("security.selinux", "security.ima", "security.evm", "system.nfs4_acl"),
        }.items()
        for name in names
    ),
    refused(
        "A-59",
        "a value of 70000 bytes",
        Tar().file("f", xattrs={"user.a": "v" * 70_000}),
        word="'user.a': the value has 70000",
    ),
    refused(
        "A-59", "a name of 300 bytes", Tar().file("f", xattrs={"user." + "a" * 295: "v"}), word="the name has 300 bytes"
    ),
    refused(
        "A-60",
        "a capability that is none",
        Tar().file("f", xattrs={"security.capability": "garbage"}),
        word="'security.capability': not a file capability",
    ),
    *(
        refused(
            "A-60",
            f"an access control list that is none, {value!r}",
            Tar().file("f", xattrs={"system.posix_acl_access": value}),
            word="'system.posix_acl_access'",
        )
        for value in (b"garbage", b"", b"\2\0\0\0" + b"x" * 8, b"\2\0\0\0" + b"\1\0\7\0\xff\xff\xff\xff" * 2)
    ),
    refused(
        "A-60",
        "a default list on a file",
        Tar().file("f", xattrs={"system.posix_acl_default": b"\2\0\0\0"}),
        word="only a directory",
    ),
    refused(
        "A-62",
        "10000 attributes",
        Tar().file("f", xattrs={f"user.{n:05}": "" for n in range(10_000)}),
        word="10000 extended attributes",
    ),
    refused(
        "A-62",
        "an extended header of 2 MiB",
        Tar().file("f", xattrs={"user.a": "v" * (2 << 20)}),
        word="an extension header of",
    ),
    refused(
        "A-62", "100000 records", Tar().extension(b"x", record("a", b"") * 100_000).file("f"), word="100000 records"
    ),
    accepted(
        "A-63",
        "other ways to say attributes",
        Tar().file(
            "f", pax={"LIBARCHIVE.xattr.user.a": "Yg", "SCHILY.acl.access": "user::rwx", "SCHILY.fflags": "schg"}
        ),
        shows="f=",
        also=lambda root: not os.listxattr(root / "f"),
    ),
]
