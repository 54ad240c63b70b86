"""The strict reader: what it takes, and how it refuses what others repair, guess or misread."""

import io
import re

import pytest

from prestow.errors import ExhaustedError, InvalidError
from prestow.layers.limits import Limits
from prestow.layers.tar.entry import Extent, Kind
from prestow.layers.tar.reader import entries
from tests.layers.model import scan
from tests.tar_builder import BLOCK, GNU, Tar, base256, header

V7 = bytes(8)
NESTED = Tar().file("smuggled", b"evil").to_bytes()


def names(tar: Tar | bytes) -> list[bytes]:
    return [entry.name for entry in scan(tar)]


def refused(tar: Tar | bytes, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        scan(tar)


def test_every_field_of_a_member_is_given() -> None:
    tar = Tar().file("a/b", b"x" * 700, mode=0o4755, uid=1000, gid=100, mtime=1_700_000_000, xattrs={"user.b": "2"})
    (entry,) = scan(tar)

    assert (entry.name, entry.kind, entry.mode, entry.uid, entry.gid) == (b"a/b", Kind.REGULAR, 0o4755, 1000, 100)
    assert (entry.mtime_ns, entry.size, entry.xattrs) == (1_700_000_000 * 10**9, 700, ((b"user.b", b"2"),))
    assert entry.extents == (Extent(0, 3 * BLOCK, 700),)
    assert entry.offset == 2 * BLOCK


def test_every_kind_of_member_is_read() -> None:
    tar = (
        Tar().file("f").directory("d").symlink("s", "t").hardlink("h", "f").char("c", 1, 3).block("b", 8, 300).fifo("p")
    )

    read = [(entry.kind, entry.link, entry.major, entry.minor) for entry in scan(tar)]

    assert read == [
        (Kind.REGULAR, b"", 0, 0),
        (Kind.DIRECTORY, b"", 0, 0),
        (Kind.SYMLINK, b"t", 0, 0),
        (Kind.HARDLINK, b"f", 0, 0),
        (Kind.CHAR, b"", 1, 3),
        (Kind.BLOCK, b"", 8, 300),
        (Kind.FIFO, b"", 0, 0),
    ]


def test_an_empty_file_has_no_extents() -> None:
    assert scan(Tar().file("f"))[0].extents == ()


# Ends


@pytest.mark.parametrize("end", [0, 1, 2, 20])
def test_the_end_marker_may_be_missing_or_long(end: int) -> None:
    assert names(Tar().file("a", b"1").to_bytes(end=end)) == [b"a"]


@pytest.mark.parametrize("tar", [b"", bytes(512), bytes(1024), bytes(10_240)])
def test_an_empty_archive_is_one(tar: bytes) -> None:
    assert scan(tar) == []


@pytest.mark.parametrize("rest", [b"junk", NESTED, b"\xff" * 2000])
def test_what_follows_the_end_marker_is_not_looked_at(rest: bytes) -> None:
    assert names(Tar().file("a", b"1").to_bytes() + rest) == [b"a"]


@pytest.mark.parametrize("rest", [NESTED, b"\0" * 511, b"\0" * 100 + b"x", b"j" * 512])
def test_a_single_zero_block_inside_is_refused(rest: bytes) -> None:
    refused(Tar().file("a", b"1").to_bytes(end=1) + rest, "byte 1024: a single zero block")


def test_an_archive_cut_anywhere_is_refused_or_whole() -> None:
    tar = Tar().directory("d").file("d/f", b"x" * 700, xattrs={"user.a": "b"}).file("s" * 150, b"y").symlink("l", "t")
    whole = tar.to_bytes()

    for cut in range(len(whole)):
        try:
            read = scan(whole[:cut])
        except InvalidError:
            continue
        assert read == scan(tar) or _ends_a_member(whole, cut), f"{len(read)} entries of an archive cut at {cut}"


def _ends_a_member(whole: bytes, cut: int) -> bool:
    """Whether a member ends there, so that nobody can tell the rest from an archive without an end marker."""
    ends = {0}
    for entry in scan(whole):
        data = sum(extent.length for extent in entry.extents)
        ends.add(entry.offset + BLOCK + (data + BLOCK - 1) // BLOCK * BLOCK)
    return cut in ends


@pytest.mark.parametrize("missing", [1, 100, 324])
def test_padding_must_be_there(missing: int) -> None:
    refused(Tar().file("a", b"x" * 700).to_bytes(end=0)[:-missing], "breaks off in the data before")


# Header blocks


@pytest.mark.parametrize("checksum", [b"0000000\0", b"junk    ", bytes(8), b"777777\0 ", b"\xff" * 8])
def test_a_wrong_checksum_is_refused(checksum: bytes) -> None:
    refused(Tar().file("a").file("b", checksum=checksum), r"byte 512: (wrong checksum|number)")


def test_a_changed_byte_is_refused() -> None:
    whole = bytearray(Tar().file("abc").file("def").to_bytes())
    whole[BLOCK + 1] ^= 0x20

    refused(bytes(whole), "byte 512: wrong checksum: expected [0-9]+, found [0-9]+")


def test_a_checksum_of_signed_bytes_is_accepted() -> None:
    name = b"\xff\xfe\x80"
    block = header(name)
    signed = sum(block[:148]) + sum(block[156:]) + 8 * 32 - 256 * 3

    assert names(header(name, checksum=b"%06o\0 " % signed)) == [name]


@pytest.mark.parametrize("flag", [b"Z", b"7", b"M", b"D", b"V", b"N", b"A", b" ", b"\xff", b"X", b"I"])
def test_an_unknown_type_is_refused(flag: bytes) -> None:
    refused(Tar().member("a", typeflag=flag), "unknown type flag")


def test_a_slash_makes_a_directory_of_an_old_regular_file_only() -> None:
    tar = Tar().member("dd/", typeflag=b"\0", size=10).file("dd/f").member("ee/", b"body", typeflag=b"0")

    assert [entry.kind for entry in scan(tar)] == [Kind.DIRECTORY, Kind.REGULAR, Kind.REGULAR]


def test_a_slash_in_a_long_name_makes_a_directory_too() -> None:
    tar = Tar().gnu_long_name("d" * 120 + "/").member("cut", typeflag=b"\0", magic=GNU).file("f")

    assert [entry.kind for entry in scan(tar)] == [Kind.DIRECTORY, Kind.REGULAR]


@pytest.mark.parametrize("tar", [Tar().member("d/", typeflag=b"5", size=600), Tar().symlink("s", "t", size=600)])
def test_the_size_of_what_has_no_body_means_nothing(tar: Tar) -> None:
    assert len(scan(tar.file("next", b"1"))) == 2


def test_a_body_behind_a_directory_is_no_header() -> None:
    refused(Tar().member("d/", b"b" * 600, typeflag=b"5"), "byte 512: (wrong checksum|number)")


def test_a_hard_link_with_a_size_is_refused() -> None:
    refused(Tar().hardlink("x", "q", size=len(NESTED)).raw(NESTED), "a hard link with a size, 2048")


def test_names_of_v7_and_ustar_and_star_and_gnu() -> None:
    tar = Tar().file("v7", magic=V7, prefix="not/a/prefix").file("name", prefix="pre/fix").file("gnu", magic=GNU)
    star = bytearray(header("name", prefix="p" * 131))
    star[345 + 131 : 345 + 155] = b"00000000000 00000000000 "
    star[508:512] = b"tar\0"
    star[148:156] = b"%06o\0 " % (sum(star[:148]) + sum(star[156:]) + 8 * 32)

    assert names(tar.raw(bytes(star))) == [b"v7", b"pre/fix/name", b"gnu", b"p" * 131 + b"/name"]


def test_times_in_a_gnu_header_are_no_prefix_and_a_misplaced_prefix_is_one() -> None:
    times = b"00000000001\0" + b"00000000002\0"
    tar = Tar().file("a", magic=GNU, prefix=times).file("b", magic=GNU, prefix="sub/folder")
    tar.file("c", magic=GNU, prefix=b"\xff\xfe" + b"z" * 40)

    assert names(tar) == [b"a", b"sub/folder/b", b"c"]


def test_device_numbers_of_v7_mean_nothing() -> None:
    (entry,) = scan(Tar().block("b", 8, 1, magic=V7))

    assert (entry.major, entry.minor) == (0, 0)


# Numbers


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"   644 \0", 0o644),
        (b"644\0junk", 0o644),
        (b"        ", 0),
        (bytes(8), 0),
        (base256(0o1755, 8), 0o1755),
    ],
)
def test_a_number_is_octal_or_binary(field: bytes, value: int) -> None:
    assert scan(Tar().file("a", mode=field))[0].mode == value


@pytest.mark.parametrize(
    "field", [b"0000689\0", b"0x1ff\0\0\0", b"1_0\0\0\0\0\0", b"+5\0\0\0\0\0\0", b"-5\0\0\0\0\0\0", b"abcdefg\0"]
)
@pytest.mark.parametrize("name", ["mode", "uid", "gid", "size", "mtime"])
def test_anything_else_is_no_number(name: str, field: bytes) -> None:
    refused(Tar().file("a", **{name: field}), re.escape("expected octal digits"))


def test_modes_are_cut_to_their_twelve_bits() -> None:
    assert scan(Tar().file("a", mode=0o7777777))[0].mode == 0o7777


@pytest.mark.parametrize("size", [-1, -256, -1536, -(2**62)])
def test_a_negative_size_is_refused(size: int) -> None:
    refused(Tar().member("a", size=base256(size, 12)), f"negative size {size}")


@pytest.mark.parametrize("size", [2**37, 2**63 - 1, 2**64, 2**88])
def test_a_size_beyond_the_limit_is_refused_and_nothing_is_allocated(size: int) -> None:
    with pytest.raises(ExhaustedError, match="max_layer_bytes"):
        scan(Tar().member("a", size=base256(size, 12)))


def test_a_size_beyond_the_archive_is_refused() -> None:
    refused(Tar().member("a", size=1 << 30), "breaks off in the data before")


@pytest.mark.parametrize("field", ["uid", "gid"])
def test_an_owner_is_what_chown_can_set(field: str) -> None:
    assert getattr(scan(Tar().file("a", **{field: 2**32 - 2}))[0], field) == 2**32 - 2
    for value in (2**32 - 1, 2**32, -1, -(2**40)):
        refused(Tar().file("a", **{field: base256(value, 8)}), f"owner {value}")
    for text in ("4294967295", "4294967296", "1" + "0" * 20, "x", "-1", "+1", " 1", "1_0", "\u0665", "1.5"):
        refused(Tar().file("a", pax={field: text}), "owner")


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("1.5", 1_500_000_000),
        ("1.", 1_000_000_000),
        ("1.0000000019", 1_000_000_001),
        ("-1.5", -1_500_000_000),
        ("-0.5", -500_000_000),
        ("99999999999", 15_032_385_535 * 10**9),
        ("-99999999999", -(2**31) * 10**9),
    ],
)
def test_a_time_is_exact_within_what_a_file_system_can_say(text: str, ns: int) -> None:
    assert scan(Tar().file("a", pax={"mtime": text}))[0].mtime_ns == ns


@pytest.mark.parametrize(
    "text",
    ["nan", "inf", "-inf", "1e9", "1e400", "0x10", "1_0", " 1", "+1", "1.5.5", ".5", "1.x", "\u0665", "-"],
)
def test_a_time_that_is_no_decimal_number_is_refused(text: str) -> None:
    refused(Tar().file("a", pax={"mtime": text}), "mtime")


@pytest.mark.parametrize(("seconds", "clamped"), [(-5, -5), (2**80, 15_032_385_535), (-(2**80), -(2**31))])
def test_a_binary_time_may_be_negative_and_is_clamped(seconds: int, clamped: int) -> None:
    assert scan(Tar().file("a", mtime=base256(seconds, 12)))[0].mtime_ns == clamped * 10**9


@pytest.mark.parametrize("numbers", [{"devmajor": 4096}, {"devminor": 2**20}, {"devmajor": 2**21 - 1}])
def test_a_device_that_linux_does_not_have_is_refused(numbers: dict[str, int]) -> None:
    refused(Tar().member("a", typeflag=b"3", **{"devmajor": 1, "devminor": 3, **numbers}), "device")


@pytest.mark.parametrize("text", ["4096", "-1", "x", str(2**32)])
def test_a_device_number_in_a_record_counts_and_is_checked(text: str) -> None:
    assert scan(Tar().char("a", 1, 3, pax={"SCHILY.devmajor": "7"}))[0].major == 7
    refused(Tar().char("a", 1, 3, pax={"SCHILY.devmajor": text}), "device|devmajor")


# Limits


def test_the_number_of_entries_is_limited() -> None:
    tar = Tar().file("a").file("b").file("c")

    assert len(scan(tar, Limits(max_entries=3))) == 3
    with pytest.raises(ExhaustedError, match="more than 2 entries; raise max_layer_entries"):
        scan(tar, Limits(max_entries=2))


def test_a_sum_of_sizes_beyond_the_limit_is_refused() -> None:
    tar = Tar().file("a", b"x" * 600).file("b", b"x" * 600)

    with pytest.raises(ExhaustedError, match="more than 1000 bytes"):
        scan(tar, Limits(max_layer_bytes=1000))


def test_only_headers_are_read() -> None:
    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.read_bytes += size or 0
            return super().read(size)

    source = Counting(Tar().file("a", b"x" * 10_000_000).file("b").to_bytes())

    assert len(list(entries(source, limits=Limits()))) == 2
    assert source.read_bytes <= 4 * BLOCK


def test_a_disk_error_is_told_as_one() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, f"no {size} bytes")

    with pytest.raises(Exception, match="reading a tar: Input/output error") as caught:
        list(entries(Broken(), limits=Limits()))

    assert type(caught.value).__name__ == "StorageError"
