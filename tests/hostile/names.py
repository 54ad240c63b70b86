"""Rows A-01 to A-12, names and paths, and A-13 to A-23, symlinks."""

import json
from pathlib import Path

from prestow.errors import printable
from tests.hostile.case import CLIMB, VICTIM, Case, accepted, folders, refused
from tests.tar_builder import Tar, header

LONG = "n" * 300
DEEP = "/".join(["d" * 200] * 22)
INNER = str(VICTIM)[1:]
PLACE = folders(VICTIM)
"""What the sentinel's path is inside an image."""

_PARTS = [f"{letter * 247}" for letter in "abcdefghijklmnop"]
_SHORT = "abcdefghijklmnop"


def _bypass() -> Tar:
    """Return folders whose real path is longer than the kernel takes, short symlinks to them, and a way up."""
    tar = Tar()
    folder, short = "", ""
    for part, name in zip(_PARTS, _SHORT, strict=True):
        tar.directory(folder + part).symlink(folder + name, part)
        folder, short = f"{folder}{part}/", f"{short}{name}/"
    tar.symlink(f"{short}{'l' * 254}", "../" * 16)
    return tar.symlink("escape", f"{short}{'l' * 254}/../../{INNER}").file("escape/x", b"1")


def _mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


def _is_root_with(path: Path, *, mode: int, uid: int) -> bool:
    return _mode(path) == mode and path.stat().st_uid == uid


def _is_told(root: Path) -> bool:
    """Whether names in any bytes can be shown and sent without harm."""
    names = [path.name for path in root.iterdir()]
    return all(printable(name).isprintable() and json.loads(json.dumps(printable(name))) for name in names)


NAMES: list[Case] = [
    accepted("A-01", "an absolute name", Tar().file("/etc/x", b"1"), shows="etc/ etc/x=1"),
    accepted("A-01", "many slashes and dots", Tar().file("//.///etc/././x", b"1"), shows="etc/ etc/x=1"),
    *(
        refused("A-02", f"a name that climbs, {label}", Tar().file(name, b"1"), word="a name with .. in it")
        for label, name in {
            "at once": "../victim/x",
            "after a folder": "a/../../victim/x",
            "after a slash": "/../victim/x",
            "very far": f"{CLIMB}/x",
            "at the end": "a/..",
            "and comes back": "a/../b",
        }.items()
    ),
    refused("A-02", "two dots in the prefix field", Tar().file("victim/x", prefix=".."), word="a name with .. in it"),
    refused("A-02", "two dots in a record", Tar().file("x", pax={"path": f"{CLIMB}/x"}), word="a name with .. in it"),
    refused("A-02", "two dots in a long name", Tar().gnu_long_name(f"{CLIMB}/x").file("x"), word="a name with .. in"),
    refused("A-02", "a folder that climbs", Tar().directory(CLIMB, mode=0o777), word="a name with .. in it"),
    refused("A-02", "a whiteout that climbs", Tar().file(f"{CLIMB}/.wh.hello"), word="a name with .. in it"),
    *(
        refused(
            "A-03", f"a {kind} for the root, {name!r}", tar, Tar().file("hello", b"evil"), word="the root directory"
        )
        for name in (".", "./", "/", "", "//.//")
        for kind, tar in {
            "symlink": Tar().symlink(name, CLIMB),
            "file": Tar().raw(header(name)),
            "pipe": Tar().fifo(name),
        }.items()
    ),
    refused("A-03", "a hard link for the root", Tar().file("f").hardlink("/", "f"), word="the root directory"),
    accepted(
        "A-03",
        "a directory for the root",
        Tar().directory(".", mode=0o751, uid=7, mtime=9),
        Tar().file("x"),
        shows="x=",
        also=lambda root: _is_root_with(root, mode=0o751, uid=7) and root.stat().st_mtime == 9,
    ),
    accepted(
        "A-04", "an old file with a slash", Tar().member("dd/", typeflag=b"\0").file("dd/f", b"1"), shows="dd/ dd/f=1"
    ),
    accepted(
        "A-04",
        "the same with a long name",
        Tar().gnu_long_name("n" * 120 + "/").member("dd", typeflag=b"\0"),
        shows="n" * 120 + "/",
    ),
    refused("A-05", "a zero byte in path", Tar().file("x", pax={"path": "a\0b"}), word="a zero byte in path"),
    refused("A-05", "a zero byte in linkpath", Tar().symlink("x", "y", pax={"linkpath": "a\0b"}), word="in linkpath"),
    refused("A-05", "a zero byte in a long name", Tar().extension(b"L", b"a\0b\0").file("x"), word="has a zero byte"),
    accepted(
        "A-06",
        "control characters",
        Tar().file("a\n\x1b[2Jb\x01").file("\u202egnp.exe", b"1"),
        shows="a\\x0a\\x1b[2Jb\\x01= \\xe2\\x80\\xaegnp.exe=1",
        also=_is_told,
    ),
    refused("A-06", "control characters in a message", Tar().file("\x1b[2J\n/..", b""), word=r"'\\x1b[2J\\n/..'"),
    accepted("A-07", "not UTF-8", Tar().file(b"\xff\xfe", b"1"), shows="\\xff\\xfe=1", also=_is_told),
    refused("A-08", "300 bytes in one name", Tar().file("x", pax={"path": LONG}), word="a name of 300 bytes"),
    refused("A-08", "256 bytes in a folder's name", Tar().file(f"{'n' * 256}/x"), word="a name of 256 bytes"),
    accepted("A-08", "255 bytes in one name", Tar().file("n" * 255), shows="n" * 255 + "="),
    refused("A-09", "a path of 4421 bytes", Tar().file(f"{DEEP}/x"), word="a path of more than 4095 bytes"),
    refused("A-09", "300 folders deep", Tar().file("d/" * 300 + "x"), word="more than 256 directories deep"),
    refused("A-09", "3000 folders deep", Tar().file("d/" * 3000 + "x"), word="a path of more than 4095 bytes"),
    refused(
        "A-09",
        "deeper by a symlink",
        Tar().directory("d/" * 200).symlink("l", "d/" * 200).file("l/" + "e/" * 100 + "x"),
        word="more than 256 directories deep",
    ),
    accepted("A-10", "names equal but for their case", Tar().file("A", b"1").file("a", b"2"), shows="A=1 a=2"),
    accepted(
        "A-10",
        "names equal but for their composition",
        Tar().file("\xe9", b"1").file("e\u0301", b"2"),
        shows="e\\xcc\\x81=2 \\xc3\\xa9=1",
    ),
    accepted(
        "A-11",
        "folders that nobody named",
        Tar().file("p/q/r"),
        shows="p/ p/q/ p/q/r=",
        also=lambda root: _is_root_with(root / "p" / "q", mode=0o755, uid=0),
    ),
    accepted(
        "A-11",
        "folders that a layer below named",
        Tar().directory("p", mode=0o711, uid=3),
        Tar().file("p/q/r"),
        shows="p/ p/q/ p/q/r=",
        also=lambda root: _is_root_with(root / "p", mode=0o711, uid=3),
    ),
    accepted(
        "A-12",
        "a folder older than its children",
        Tar().directory("d", mtime=1).file("d/f", mtime=99),
        shows="d/ d/f=",
        also=lambda root: (root / "d").stat().st_mtime == 1,
    ),
]

SYMLINKS: list[Case] = [
    accepted(
        "A-13",
        "through an absolute symlink",
        Tar().symlink("l", str(VICTIM)).file("l/x", b"1"),
        shows=f"l->{VICTIM} {PLACE} {INNER}/x=1",
    ),
    accepted(
        "A-13",
        "through one that climbs",
        Tar().symlink("l", CLIMB).file("l/hello", b"evil"),
        shows=f"l->{CLIMB} {PLACE} {INNER}/hello=evil",
    ),
    accepted(
        "A-13",
        "to the folder above",
        Tar().symlink("l", "../../victim").file("l/x", b"1"),
        shows="l->../../victim victim/ victim/x=1",
    ),
    accepted(
        "A-13", "a folder named again by a symlink", Tar().symlink("l", CLIMB).directory("l/", mode=0o777), shows="l/"
    ),
    accepted(
        "A-14",
        "a file in the place of a symlink",
        Tar().symlink("l", f"{VICTIM}/hello").file("l", b"evil"),
        shows="l=evil",
    ),
    accepted(
        "A-14",
        "the same a layer later",
        Tar().symlink("l", f"{VICTIM}/hello"),
        Tar().file("l", b"evil"),
        shows="l=evil",
    ),
    accepted("A-14", "a pipe in the place of a symlink", Tar().symlink("l", f"{VICTIM}/hello").fifo("l"), shows="l|"),
    refused(
        "A-15",
        "a hard link through a chain of symlinks",
        Tar()
        .directory("a/b/c")
        .symlink("a/b/c/up", "../..")
        .symlink("a/b/escape", "c/up/../..")
        .hardlink("x", f"a/b/escape/{CLIMB.lstrip('./')}/hello"),
        word="a hard link to",
    ),
    accepted(
        "A-15",
        "a file through a chain of symlinks",
        Tar().directory("a/b/c").symlink("a/b/c/up", "../..").symlink("a/b/e", "c/up/../..").file("a/b/e/x", b"1"),
        shows="a/ a/b/ a/b/c/ a/b/c/up->../.. a/b/e->c/up/../.. x=1",
    ),
    accepted(
        "A-16",
        "a folder, a symlink, and a folder again",
        Tar().directory("foo").symlink("foo", "/").file("foo/tmp/x", b"1").directory("foo").file("foo/y", b"2"),
        shows="foo/ foo/y=2 tmp/ tmp/x=1",
    ),
    accepted(
        "A-17",
        "through a symlink into nothing",
        Tar().symlink("dang", "/newdir").file("dang/x", b"1"),
        shows="dang->/newdir newdir/ newdir/x=1",
    ),
    refused("A-18", "through a loop", Tar().symlink("a", "b").symlink("b", "a").file("a/x"), word="too many symlinks"),
    refused("A-18", "through itself", Tar().symlink("a", "a/a").file("a/x"), word="too many symlinks"),
    accepted(
        "A-19",
        "through the kernel's own symlinks",
        Tar().symlink("l", "/proc/self/root").file("l/etc/x", b"1"),
        shows="l->/proc/self/root proc/ proc/self/ proc/self/root/ proc/self/root/etc/ proc/self/root/etc/x=1",
    ),
    accepted(
        "A-19",
        "through a descriptor",
        Tar().symlink("l", "/proc/self/fd/7").file("l/x", b"1"),
        shows="l->/proc/self/fd/7 proc/ proc/self/ proc/self/fd/ proc/self/fd/7/ proc/self/fd/7/x=1",
    ),
    accepted(
        "A-20", "a symlink of a layer below", Tar().symlink("l", str(VICTIM)), Tar().file("l/x", b"1"), shows="l/ l/x=1"
    ),
    accepted(
        "A-20",
        "a symlink of a layer below that climbs",
        Tar().symlink("l", CLIMB),
        Tar().file("l/hello", b"1"),
        shows="l/ l/hello=1",
    ),
    accepted(
        "A-21",
        "a real path longer than the kernel takes",
        _bypass,
        shows=None,
        also=lambda root: (root / INNER / "x").read_bytes() == b"1",
    ),
    refused("A-22", "a symlink to nothing", Tar().member("l", typeflag=b"2"), word="a symlink to 0 bytes"),
    refused("A-22", "a symlink to 4096 bytes", Tar().symlink("l", "t" * 4096), word="a symlink to 4096 bytes"),
    accepted("A-22", "a symlink to 4095 bytes", Tar().symlink("l", "t" * 4095), shows="l->" + "t" * 4095),
    accepted(
        "A-23",
        "merged /usr",
        Tar().file("usr/lib/a", b"1").symlink("lib", "usr/lib"),
        Tar().file("lib/b", b"2"),
        shows="lib/ lib/b=2 usr/ usr/lib/ usr/lib/a=1",
    ),
]
