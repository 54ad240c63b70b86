"""The reader against two honest writers, GNU tar and Python, in every format that they write; and against mutation."""

import hashlib
import io
import os
import random
import re
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import ExhaustedError, InvalidError
from prestow.layers.tar.entry import Entry, Kind
from tests.layers.model import scan
from tests.tar_builder import BLOCK

KINDS = {
    tarfile.REGTYPE: Kind.REGULAR,
    tarfile.AREGTYPE: Kind.REGULAR,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARDLINK,
    tarfile.CHRTYPE: Kind.CHAR,
    tarfile.BLKTYPE: Kind.BLOCK,
    tarfile.FIFOTYPE: Kind.FIFO,
}


def _content(tar: bytes, entry: Entry) -> str:
    data = bytearray(entry.size)
    for logical, offset, length in entry.extents:
        data[logical : logical + length] = tar[offset : offset + length]
    return hashlib.sha256(data).hexdigest()


def _read_by_us(tar: bytes) -> list[tuple[object, ...]]:
    return [
        (
            os.fsdecode(entry.name).rstrip("/"),
            entry.kind,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime_ns // 10**9,
            os.fsdecode(entry.link),
            (entry.major, entry.minor),
            _content(tar, entry) if entry.kind is Kind.REGULAR else "",
            dict(entry.xattrs),
        )
        for entry in scan(tar)
    ]


def _read_by_python(tar: bytes) -> list[tuple[object, ...]]:
    read = []
    with tarfile.open(fileobj=io.BytesIO(tar), encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            kind = Kind.REGULAR if member.issparse() else KINDS[member.type]
            file = archive.extractfile(member) if kind is Kind.REGULAR else None
            read.append((
                member.name.rstrip("/"),
                kind,
                member.mode & 0o7777,
                member.uid,
                member.gid,
                int(member.mtime // 1),
                member.linkname if kind in {Kind.SYMLINK, Kind.HARDLINK} else "",
                (member.devmajor, member.devminor) if kind in {Kind.CHAR, Kind.BLOCK} else (0, 0),
                hashlib.sha256(file.read()).hexdigest() if file else "",
                {
                    os.fsencode(key.removeprefix("SCHILY.xattr.")): os.fsencode(value)
                    for key, value in member.pax_headers.items()
                    if key.startswith("SCHILY.xattr.")
                },
            ))  # fmt: skip
    return read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of everything."""
    top = tmp_path_factory.mktemp("everything") / "top"
    (top / "d/e").mkdir(parents=True)
    (top / "plain").write_bytes(b"plain\n")
    (top / "empty").touch(0o600)
    (top / "big").write_bytes(os.urandom(70_001))
    (top / ("n" * 99)).write_bytes(b"99")
    (top / ("n" * 100)).write_bytes(b"100")
    (top / "d/e" / ("n" * 200)).write_bytes(b"200")
    (top / os.fsdecode(b"\xff\xfe\n")).write_bytes(b"odd")
    (top / "ünïcode").write_bytes(b"letters")
    (top / "link").symlink_to("../elsewhere")
    (top / "far").symlink_to("t" * 150)
    os.link(top / "plain", top / "hard")
    os.link(top / "d/e" / ("n" * 200), top / "d/long hard")
    os.mkfifo(top / "pipe")
    os.mknod(top / "null", 0o20666, os.makedev(1, 3))
    os.mknod(top / "disk", 0o60660, os.makedev(259, 300))
    os.chown(top / "d", 3_000_000, 4_000_000)
    (top / "d").chmod(0o2755)
    os.utime(top / "plain", ns=(0, 1_700_000_000_123_456_789))
    os.utime(top / "empty", ns=(0, -1_500_000_000))
    with (top / "sparse").open("wb") as sparse:
        for number in range(40):
            sparse.seek(number * 100_000)
            sparse.write(b"%d" % number * 700)
        sparse.truncate(5_000_000)
    with (top / "hole").open("wb") as hole:
        hole.truncate(1_000_000)
    return top


FORMATS = {
    "v7": ["--format=v7"],
    "ustar": ["--format=ustar"],
    "oldgnu": ["--format=oldgnu"],
    "gnu": ["--format=gnu"],
    "posix": ["--format=posix"],
    "gnu sparse": ["--format=gnu", "--sparse"],
    "posix sparse 0.0": ["--format=posix", "--sparse", "--sparse-version=0.0"],
    "posix sparse 0.1": ["--format=posix", "--sparse", "--sparse-version=0.1"],
    "posix sparse 1.0": ["--format=posix", "--sparse", "--sparse-version=1.0"],
    "numeric": ["--format=gnu", "--numeric-owner", "--sort=name"],
    "absolute": ["--format=gnu", "--absolute-names"],
}


@pytest.mark.parametrize("name", FORMATS)
def test_what_gnu_tar_writes_is_read_as_python_reads_it(folder: Path, name: str) -> None:
    target = str(folder) if name == "absolute" else "top"
    command = ["tar", "-c", "-f", "-", "-C", folder.parent, *FORMATS[name], target]
    made = subprocess.run(command, capture_output=True, check=name not in {"v7", "ustar"})
    read = _read_by_us(made.stdout)

    everything = sum(1 for _ in folder.rglob("*")) + 1
    assert len(read) == everything if name not in {"v7", "ustar"} else 10 <= len(read) < everything
    assert sorted(map(repr, read)) == sorted(map(repr, _read_by_python(made.stdout)))


@pytest.mark.parametrize("name", [name for name in FORMATS if "sparse" in name])
def test_the_holes_of_gnu_tar_are_holes(folder: Path, name: str) -> None:
    made = subprocess.run(
        ["tar", "-c", "-C", folder, *FORMATS[name], "sparse", "hole"], capture_output=True, check=True
    ).stdout
    sparse, hole = scan(made)

    assert (sparse.size, hole.size, hole.extents) == (5_000_000, 1_000_000, ())
    assert len(sparse.extents) == 40
    assert sum(extent.length for extent in sparse.extents) < 1_000_000
    assert _content(made, sparse) == hashlib.sha256((folder / "sparse").read_bytes()).hexdigest()


def test_times_and_attributes_of_gnu_tar_are_exact(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.touch()
    os.setxattr(file, "user.binary", bytes(range(256)))
    os.utime(file, ns=(0, 1_700_000_000_123_456_789))
    command = ["tar", "-c", "--format=posix", "--xattrs", "-C", tmp_path, "f"]

    (entry,) = scan(subprocess.run(command, capture_output=True, check=True).stdout)

    assert entry.mtime_ns == 1_700_000_000_123_456_789
    assert entry.xattrs == ((b"user.binary", bytes(range(256))),)


def test_gnu_tar_lists_the_same_names(folder: Path) -> None:
    made = subprocess.run(["tar", "-c", "-C", folder, "--format=posix", "."], capture_output=True, check=True).stdout
    command = ["tar", "-t", "--quoting-style=literal", "--show-stored-names", "-f", "-"]
    listed = subprocess.run(command, input=made, capture_output=True, check=True).stdout

    assert b"".join(entry.name + b"\n" for entry in scan(made)) == listed


class Archive(bytes):
    """A tar that is shown by its members."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show the members as we read them."""
        return repr(scan(bytes(self)))


def _text(alphabet: str) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=300).filter(lambda text: not text.endswith("/"))


@st.composite
def _archives(draw: st.DrawFn) -> Archive:
    """An archive that Python writes."""
    form = draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for _ in range(draw(st.integers(0, 5))):
            member = tarfile.TarInfo(draw(_text("ab/é\udcff")))
            member.type = draw(st.sampled_from([kind for kind in KINDS if kind != tarfile.AREGTYPE]))
            member.mode = draw(st.integers(0, 0o7777))
            member.uid, member.gid = draw(st.integers(0, 2**32 - 2)), draw(st.integers(0, 2**21))
            member.mtime = draw(st.integers(-(2**31), 2**33))
            data = draw(st.binary(max_size=1100)) if member.type == tarfile.REGTYPE else b""
            member.size = len(data)
            if member.type in {tarfile.SYMTYPE, tarfile.LNKTYPE}:
                member.linkname = draw(_text("xy/é"))
            if member.type in {tarfile.CHRTYPE, tarfile.BLKTYPE}:
                member.devmajor, member.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, 2**20 - 1))
            if form == tarfile.PAX_FORMAT and draw(st.booleans()):
                member.pax_headers = {"SCHILY.xattr.user.a": draw(_text("v=\n")), "mtime": "5.25"}
            try:
                archive.addfile(member, io.BytesIO(data))
            except ValueError:
                continue  # it does not fit into ustar
    return Archive(target.getvalue())


@settings(deadline=None, max_examples=60)
@given(_archives())
def test_what_python_writes_is_read_back(tar: bytes) -> None:
    assert _read_by_us(tar) == _read_by_python(tar)


def _as_gnu_tar_lists(entry: Entry) -> bytes:
    """Write an entry as ``tar -tv`` does, but for the time."""
    kind = "h" if entry.kind is Kind.HARDLINK else ""
    mode = kind + stat.filemode((entry.kind or stat.S_IFREG) | entry.mode)[len(kind) :]
    size = f"{entry.major},{entry.minor}" if entry.kind in {Kind.CHAR, Kind.BLOCK} else f"{entry.size}"
    arrow = {Kind.SYMLINK: b" -> ", Kind.HARDLINK: b" link to "}.get(entry.kind, b"")
    slash = b"/" if entry.kind is Kind.DIRECTORY and not entry.name.endswith(b"/") else b""
    return f"{mode} {entry.uid}/{entry.gid} {size} ".encode() + entry.name + slash + arrow + entry.link


@settings(deadline=None, max_examples=60)
@given(_archives())
def test_any_archive_is_listed_as_gnu_tar_lists_it(tar: bytes) -> None:
    command = ["tar", "-tvPf", "-", "--quoting-style=literal", "--show-stored-names", "--numeric-owner"]
    listed = subprocess.run(command, input=tar, capture_output=True, check=True).stdout.splitlines()

    without_time = [re.sub(rb"^(\S+) (\S+) +(\S+) \S+ \S+ ", rb"\1 \2 \3 ", line) for line in listed]
    assert [_as_gnu_tar_lists(entry) for entry in scan(tar)] == without_time


@settings(deadline=None, max_examples=60)
@given(_archives(), st.integers(0, 1 << 20))
def test_a_cut_archive_is_refused_or_ends_between_two_members(tar: bytes, number: int) -> None:
    whole = scan(tar)
    cut = number % len(tar)
    try:
        read = scan(tar[:cut])
    except InvalidError:
        return

    assert read == whole[: len(read)]
    assert cut % BLOCK == 0 or read == whole
    assert all(extent.offset + extent.length <= cut for entry in read for extent in entry.extents)


@settings(deadline=None, max_examples=100)
@given(_archives(), st.randoms(use_true_random=False))
def test_a_damaged_archive_is_refused_or_read_the_same_but_for_the_damage(tar: bytes, chance: random.Random) -> None:
    damaged = bytearray(tar)
    at = chance.randrange(len(tar))
    damaged[at] = chance.randrange(256)
    try:
        read = scan(bytes(damaged))
    except InvalidError:
        return

    outside = [entry for entry in scan(tar) if not entry.offset <= at < entry.offset + BLOCK]
    assert len(read) == len(scan(tar))
    assert {entry.offset for entry in outside} <= {entry.offset for entry in read}


@settings(deadline=None, max_examples=100)
@given(_archives(), st.randoms(use_true_random=False), st.integers(1, 6))
def test_a_forged_archive_never_fails_in_another_way(tar: bytes, chance: random.Random, changes: int) -> None:
    forged = bytearray(tar)
    for _ in range(changes):
        _forge(forged, chance)
    try:
        read = scan(bytes(forged))
    except (InvalidError, ExhaustedError):
        return

    for entry in read:
        assert all(0 <= extent.offset <= len(forged) - extent.length for extent in entry.extents)
        assert all(0 <= extent.logical <= entry.size - extent.length for extent in entry.extents)
        assert 0 <= entry.uid < 2**32 - 1
        assert 0 <= entry.mode <= 0o7777


def _forge(tar: bytearray, chance: random.Random) -> None:
    """Change a byte, or a field, of some block, and make its checksum right again as if it were a header."""
    block = chance.randrange(len(tar) // BLOCK) * BLOCK
    fields = [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (257, 8), (329, 8), (0, 100), (345, 155)]
    at, width = chance.choice(fields)
    values = [
        bytes(width),
        b"\xff" * width,
        b"7" * width,
        b"\x80" + bytes(width - 1),
        chance.randbytes(width),
        b"S",
        b"x",
    ]
    value = chance.choice(values)[:width]
    tar[block + at : block + at + len(value)] = value
    total = sum(tar[block : block + 148]) + sum(tar[block + 156 : block + BLOCK]) + 8 * 32
    tar[block + 148 : block + 156] = b"%06o\0 " % total
