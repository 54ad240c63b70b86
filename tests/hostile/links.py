"""Rows A-24 to A-31, hard links, and A-32 to A-47, whiteouts and what overlayfs takes for them."""

from functools import cache
from pathlib import Path

from tests.hostile.case import CLIMB, VICTIM, Blob, Case, accepted, folders, refused, zipped
from tests.tar_builder import Tar

INNER = str(VICTIM)[1:]
PLACE = folders(VICTIM)
BASE = Tar().directory("d", mtime=5).file("d/old", b"1").file("d/kept", b"2").file("a", b"3")


def _is_one_file(root: Path, *names: str) -> bool:
    return len({(root / name).lstat().st_ino for name in names}) == 1


@cache
def _many_names() -> Blob:
    tar = Tar().file("t")
    for number in range(65_000):
        tar.hardlink(str(number), "t")
    return zipped(tar, "zstd")


@cache
def _many_whiteouts() -> Blob:
    tar = Tar().whiteout("a")
    for number in range(20_000):
        tar.whiteout(f"d/{number}")
    return zipped(tar, "zstd")


LINKS: list[Case] = [
    *(
        refused(
            "A-24", f"a hard link {label}", Tar().hardlink("h", target, mode=0o777), word="names no file of an image"
        )
        for label, target in {
            "that climbs": "../victim/hello",
            "that climbs from the root": "/../victim/hello",
            "that climbs very far": f"{CLIMB}/hello",
            "to nothing": "",
        }.items()
    ),
    refused("A-24", "a hard link into the current folder", Tar().hardlink("h", "hello"), word="a hard link to 'hello'"),
    refused("A-24", "a hard link to the sentinel", Tar().hardlink("h", f"{VICTIM}/hello"), word="a hard link to"),
    refused(
        "A-24",
        "a hard link through a symlink",
        Tar().symlink("l", str(VICTIM)).hardlink("h", "l/hello"),
        word="a hard link to",
    ),
    refused(
        "A-24",
        "a hard link through a symlink below",
        Tar().symlink("l", str(VICTIM)),
        Tar().hardlink("h", "l/hello"),
        word="a hard link to",
    ),
    accepted(
        "A-26",
        "a hard link to a symlink, with a mode and an owner",
        Tar().symlink("s", f"{VICTIM}/hello").hardlink("h", "s", mode=0o6777, uid=9, mtime=9, xattrs={"user.a": "b"}),
        shows=f"h->{VICTIM}/hello s->{VICTIM}/hello",
        also=lambda root: _is_one_file(root, "h", "s"),
    ),
    accepted(
        "A-26",
        "a symlink with a mode and an owner",
        Tar().symlink("s", CLIMB, mode=0o6777, uid=9, gid=9, mtime=9),
        shows=f"s->{CLIMB}",
        also=lambda root: (root / "s").lstat().st_uid == 9,
    ),
    accepted(
        "A-26",
        "a symlink with attributes",
        Tar().symlink("s", f"{VICTIM}/hello", xattrs={"user.a": "b", "trusted.a": "b"}),
        shows=f"s->{VICTIM}/hello",
        dropped=["user.a"],
    ),
    refused("A-27", "a hard link to nothing", Tar().hardlink("h", "nothing"), word="a hard link to 'nothing'"),
    refused("A-27", "a hard link to a later file", Tar().hardlink("h", "t").file("t"), word="a hard link to 't'"),
    refused("A-27", "a hard link to itself", Tar().file("h").hardlink("h", "h"), word="a hard link to itself"),
    refused(
        "A-27",
        "a hard link to what the layer itself replaced by a folder",
        Tar().file("t").directory("t").hardlink("h", "t"),
        word="a hard link to a directory",
    ),
    refused(
        "A-28", "a hard link to a folder", Tar().directory("d").hardlink("h", "d"), word="a hard link to a directory"
    ),
    refused(
        "A-28",
        "a hard link to a folder below",
        Tar().directory("d"),
        Tar().hardlink("h", "d"),
        word="a hard link to 'd'",
    ),
    accepted(
        "A-29",
        "a hard link to a file below",
        BASE,
        Tar().hardlink("h", "d/old"),
        shows="a=3 d/ d/kept=2 d/old=1 h=1",
        also=lambda root: _is_one_file(root, "h", "d/old"),
    ),
    accepted(
        "A-29",
        "a hard link to a file below that goes",
        BASE,
        Tar().hardlink("h", "a").whiteout("a"),
        shows="d/ d/kept=2 d/old=1 h=3",
    ),
    refused(
        "A-30",
        "a hard link with a body",
        Tar().hardlink("x", "q", size=512).file("hidden"),
        word="a hard link with a size",
    ),
    refused("A-31", "65001 names of one file", _many_names, word="more than 65000 names"),
]

WHITEOUTS: list[Case] = [
    *(
        refused("A-32", f"the whiteout {name!r}", BASE, Tar().file(name), word="a whiteout of nothing, or of a dot")
        for name in (".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh...", "/.wh...")
    ),
    accepted("A-33", "opaque mark at the layer's root", BASE, Tar().opaque("").file("b", b"4"), shows="b=4"),
    accepted("A-33", "opaque mark alone", BASE, Tar().file(".wh..wh..opq"), Tar(), shows=""),
    accepted(
        "A-34",
        "a folder removed and made again",
        BASE,
        Tar().whiteout("d").directory("d").file("d/new", b"4"),
        shows="a=3 d/ d/new=4",
    ),
    accepted(
        "A-34",
        "a folder made again and removed",
        BASE,
        Tar().directory("d").file("d/new", b"4").whiteout("d"),
        shows="a=3 d/ d/new=4",
    ),
    accepted(
        "A-34",
        "a folder removed and made again two layers later",
        BASE,
        Tar().whiteout("d"),
        Tar().file("d/new"),
        shows="a=3 d/ d/new=",
    ),
    accepted("A-35", "a file and its whiteout", Tar().file("a", b"2").whiteout("a"), shows="a=2"),
    accepted(
        "A-35", "a whiteout and its file", BASE, Tar().whiteout("a").file("a", b"2"), shows="a=2 d/ d/kept=2 d/old=1"
    ),
    accepted(
        "A-36", "an opaque mark at the end", BASE, Tar().directory("d").file("d/new").opaque("d"), shows="a=3 d/ d/new="
    ),
    accepted("A-37", "a whiteout of a folder and one inside", BASE, Tar().whiteout("d").whiteout("d/old"), shows="a=3"),
    accepted(
        "A-37", "a whiteout inside and one of the folder", BASE, Tar().whiteout("d/old").whiteout("d"), shows="a=3"
    ),
    accepted(
        "A-38",
        "a ghost in a new folder",
        BASE,
        Tar().directory("nd").whiteout("nd/ghost"),
        shows="a=3 d/ d/kept=2 d/old=1 nd/",
    ),
    accepted(
        "A-38",
        "a ghost in an opaque folder",
        BASE,
        Tar().opaque("d").whiteout("d/old").whiteout("d/x").file("d/new"),
        shows="a=3 d/ d/new=",
    ),
    accepted(
        "A-38",
        "a ghost in a folder that replaces a file",
        BASE,
        Tar().directory("a").whiteout("a/ghost"),
        shows="a/ d/ d/kept=2 d/old=1",
    ),
    accepted(
        "A-39", "a whiteout of nothing", BASE, Tar().whiteout("x").whiteout("no/such"), shows="a=3 d/ d/kept=2 d/old=1"
    ),
    accepted(
        "A-39", "a whiteout of nothing below a file", BASE, Tar().whiteout("a/x"), shows="a=3 d/ d/kept=2 d/old=1"
    ),
    *(
        accepted("A-40", f"a whiteout that is a {kind}", BASE, tar, shows="d/ d/kept=2 d/old=1")
        for kind, tar in {
            "folder": Tar().directory(".wh.a"),
            "symlink": Tar().symlink(".wh.a", f"{VICTIM}/hello"),
            "hard link": Tar().hardlink(".wh.a", "../victim"),
            "device": Tar().char(".wh.a", 1, 3),
            "file with a body": Tar().file(".wh.a", b"x" * 600),
        }.items()
    ),
    accepted(
        "A-41",
        "a whiteout through a symlink",
        Tar().symlink("l", "/d").file("d/old").file("d/kept"),
        Tar().symlink("l", "/d").whiteout("l/old"),
        shows="d/ d/kept= l->/d",
    ),
    accepted(
        "A-41",
        "a whiteout through a symlink outside",
        BASE,
        Tar().symlink("l", str(VICTIM)).whiteout("l/hello"),
        shows=f"a=3 d/ d/kept=2 d/old=1 l->{VICTIM}",
    ),
    accepted(
        "A-41",
        "an opaque mark through a symlink outside",
        BASE,
        Tar().symlink("l", CLIMB).opaque("l"),
        shows=f"a=3 d/ d/kept=2 d/old=1 l->{CLIMB}",
    ),
    accepted(
        "A-41",
        "a whiteout through a symlink below",
        Tar().symlink("l", str(VICTIM)),
        Tar().whiteout("l/hello"),
        shows=f"l->{VICTIM}",
    ),
    accepted(
        "A-42",
        "a whiteout as a folder of a name",
        BASE,
        Tar().file(".wh.d/x", b"4"),
        shows=".wh.d/ .wh.d/x=4 a=3 d/ d/kept=2 d/old=1",
    ),
    accepted(
        "A-43",
        "marks of aufs",
        BASE,
        Tar().directory(".wh..wh.plnk").file(".wh..wh.plnk/1.2").file(".wh..wh.aufs"),
        shows=".wh..wh.aufs= .wh..wh.plnk/ .wh..wh.plnk/1.2= a=3 d/ d/kept=2 d/old=1",
    ),
    refused("A-44", "the device 0:0", BASE, Tar().char("a", 0, 0), word="character device 0:0"),
    refused(
        "A-44", "the device 0:0 of an old header", BASE, Tar().member("a", typeflag=b"3", magic=bytes(8)), word="0:0"
    ),
    *(
        accepted(
            "A-45",
            f"{name} of a folder",
            BASE,
            Tar()
            .directory("m", xattrs={name: value})
            .directory("d", xattrs={name: value})
            .file("d/f", xattrs={name: value}),
            shows="a=3 d/ d/f= d/kept=2 d/old=1 m/",
            dropped=[name],
        )
        for name, value in {
            "trusted.overlay.opaque": "y",
            "trusted.overlay.redirect": "/d",
            "trusted.overlay.metacopy": "",
            "trusted.overlay.origin": "x",
            "trusted.overlay.upper": "x",
            "trusted.overlay.impure": "y",
            "trusted.overlay.nlink": "U+1",
            "trusted.overlay.whiteout": "",
            "user.overlay.opaque": "y",
            "user.overlay.redirect": "/d",
            "trusted.overlay.overlay.opaque": "y",
        }.items()
    ),
    accepted("A-46", "20001 whiteouts", BASE, _many_whiteouts, shows="d/ d/kept=2 d/old=1"),
    accepted(
        "A-47",
        "a folder becomes a file, and a file a folder",
        BASE,
        Tar().file("d", b"4").file("a/x"),
        shows="a/ a/x= d=4",
    ),
    accepted(
        "A-47", "and back again", BASE, Tar().file("d").directory("a"), Tar().directory("d").file("a"), shows="a= d/"
    ),
]
