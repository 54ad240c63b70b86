"""The tar builder: what it writes honestly, GNU tar and Python read; what it writes dishonestly, it means to."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tar_builder import GNU, Tar, base256, header, octal, record, records

EVERYTHING = (
    Tar()
    .directory("d", mode=0o1777, mtime=1_700_000_000)
    .file("d/plain", b"content\n", uid=1000, gid=100, uname="app", gname="users")
    .file("d/big", b"x" * 1300)
    .symlink("d/link", "../elsewhere")
    .hardlink("d/hard", "d/plain")
    .char("d/null", 1, 3)
    .block("d/disk", 8, 1)
    .fifo("d/pipe")
    .file("d/" + "n" * 200, b"long")
    .symlink("d/far", "t" * 200)
    .gnu_long_name("d/" + "g" * 200)
    .file("cut", b"gnu", magic=GNU)
    .gnu_long_link("u" * 200)
    .symlink("d/gnu", "cut", magic=GNU)
    .file("d/ids", uid=3_000_000, gid=4_000_000_000)
    .file("d/old", mtime=-5)
    .file("d/attr", xattrs={"user.note": "hello"})
    .file("d/prefixed", prefix="over/there")
    .whiteout("d/gone")
    .opaque("d")
    .to_bytes()
)


def test_gnu_tar_reads_every_kind_of_member() -> None:
    listed = subprocess.run(["tar", "-tvf", "-"], input=EVERYTHING, capture_output=True, check=True)
    lines = listed.stdout.decode().splitlines()

    assert listed.stderr == b""
    assert [line[0] for line in lines] == list("d--lhcbp-l-l------")
    links = (" d/link -> ../elsewhere", " d/hard link to d/plain", " d/far -> " + "t" * 200, " d/gnu -> " + "u" * 200)
    for part in (*links, " 1,3 ", " 8,1 ", " d/" + "g" * 200):
        assert sum(part in line for line in lines) == 1
    assert "3000000/4000000000" in listed.stdout.decode()
    assert "drwxrwxrwt" in lines[0]


def test_python_reads_the_same_metadata() -> None:
    with tarfile.open(fileobj=io.BytesIO(EVERYTHING)) as archive:
        members = {member.name: member for member in archive}

    plain = members["d/plain"]
    assert (plain.uid, plain.gid, plain.uname, plain.size, plain.mode) == (1000, 100, "app", 8, 0o644)
    assert members["d/old"].mtime == -5
    assert (members["d/ids"].uid, members["d/ids"].gid) == (3_000_000, 4_000_000_000)
    assert members["d/attr"].pax_headers == {"SCHILY.xattr.user.note": "hello"}
    assert {"over/there/d/prefixed", "d/.wh.gone", "d/.wh..wh..opq"} <= members.keys()


def test_gnu_tar_extracts_what_was_put_in(tmp_path: Path) -> None:
    tar = Tar().directory("d").file("d/f", b"x" * 1300, mode=0o600).hardlink("d/h", "d/f").symlink("d/s", "f")

    subprocess.run(["tar", "-xf", "-", "-C", tmp_path], input=tar.to_bytes(), check=True)

    assert (tmp_path / "d/s").read_bytes() == b"x" * 1300
    assert (tmp_path / "d/f").stat().st_nlink == 2
    assert (tmp_path / "d/f").stat().st_mode & 0o777 == 0o600


@given(st.text("abc.", min_size=1, max_size=8), st.binary(max_size=1200))
def test_a_record_begins_with_its_own_length(keyword: str, value: bytes) -> None:
    whole = record(keyword, value)

    length, _, rest = whole.partition(b" ")
    assert int(length) == len(whole)
    assert rest == keyword.encode() + b"=" + value + b"\n"


@given(st.integers(-(2**87), 2**87 - 1))
def test_a_binary_number_is_its_two_s_complement_with_the_mark(value: int) -> None:
    encoded = base256(value, 12)

    assert encoded[0] & 0x80
    bits = int.from_bytes(encoded) & ((1 << 95) - 1)
    assert bits - ((1 << 95) if bits >> 94 else 0) == value


def test_a_number_that_does_not_fit_in_octal_becomes_binary() -> None:
    assert header("f", size=8**11 - 1)[124:136] == octal(8**11 - 1, 12)
    assert header("f", size=8**11)[124:136] == base256(8**11, 12)
    assert header("f", uid=-1)[108:116] == b"\xff" * 8


def test_every_archive_is_of_whole_blocks_unless_raw_bytes_are_added() -> None:
    assert len(EVERYTHING) % 512 == 0
    assert len(Tar().raw(b"x").to_bytes(end=0)) == 1


@pytest.mark.parametrize(
    ("hostile", "written"),
    [
        (Tar().file("f", size=b"\x00" * 12), b"\x00" * 12),
        (Tar().file("f", size=999_999), b"0000003641077\x00"[-12:]),
        (Tar().file("f", b"abc", typeflag=b"Z"), b"abc"),
        (Tar().file("../../etc/passwd"), b"../../etc/passwd\x00"),
        (Tar().file(b"a\xff\n"), b"a\xff\n\x00"),
        (Tar().file("f", mode=b"garbage!"), b"garbage!"),
        (Tar().file("f", checksum=b"000000\x00 "), b"000000\x00 "),
        (Tar().pax({"path": "x", "size": "-1"}), b"9 path=x\n11 size=-1\n"),
        (Tar().pax_global({"path": "all"}), b"12 path=all\n"),
        (Tar().extension(b"x", b"999999 path=x\n"), b"999999 path=x\n"),
        (Tar().raw(b"\x01" * 100), b"\x01" * 100),
    ],
)
def test_a_lie_is_written_as_it_was_told(hostile: Tar, written: bytes) -> None:
    assert written in hostile.to_bytes()


def test_a_wrong_checksum_is_one_for_other_tools_too() -> None:
    broken = Tar().file("f", checksum=b"000001\0 ").to_bytes()

    result = subprocess.run(["tar", "-tf", "-"], input=broken, capture_output=True, check=False)

    assert result.returncode != 0


def test_records_of_text_and_bytes_are_joined() -> None:
    assert records({"path": "é", "comment": b"\xff"}) == "11 path=é\n".encode() + b"13 comment=\xff\n"
