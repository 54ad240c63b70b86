"""Extension headers and sparse maps: PAX records, GNU long names, and holes."""

import pytest

from prestow.errors import ExhaustedError, InvalidError
from prestow.layers.limits import Limits
from prestow.layers.tar.entry import Extent, Kind
from tests.layers.model import scan
from tests.tar_builder import BLOCK, GNU, Tar, base256, header, octal, record, records

NESTED = Tar().file("smuggled", b"evil").to_bytes()


def refused(tar: Tar | bytes, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        scan(tar)


def test_records_go_before_the_header_block() -> None:
    said = {"path": "long", "uid": "5", "gid": "6", "mtime": "7.5", "size": "3", "linkpath": "no", "uname": "u"}
    (entry,) = scan(Tar().pax(said).raw(header("short", size=0, uid=1) + b"abc".ljust(BLOCK, b"\0")))

    assert (entry.name, entry.uid, entry.gid, entry.mtime_ns) == (b"long", 5, 6, 7_500_000_000)
    assert (entry.size, entry.extents, entry.link) == (3, (Extent(0, 3 * BLOCK, 3),), b"")


def test_a_size_in_a_record_is_the_size() -> None:
    tar = Tar().pax({"size": str(len(NESTED))}).raw(header("outer", size=0) + NESTED)

    assert [entry.name for entry in scan(tar)] == [b"outer"]


@pytest.mark.parametrize("size", ["abc", "-512", "1_0", "0x10", " 5", "+5", "5 ", "\u0665", "1e3", "1.0", "9" * 40])
def test_a_size_that_is_no_number_is_refused_and_its_body_never_read_as_headers(size: str) -> None:
    refused(Tar().pax({"size": size}).raw(header("d", size=len(NESTED)) + NESTED), "size .*: expected decimal digits")


def test_an_empty_record_means_the_header_block() -> None:
    (entry,) = scan(Tar().pax({"path": "", "uid": "", "mtime": "", "size": ""}).file("kept", b"1", uid=3, mtime=4))

    assert (entry.name, entry.uid, entry.mtime_ns, entry.size) == (b"kept", 3, 4 * 10**9, 1)


@pytest.mark.parametrize(
    "block",
    [
        b"99 path=x\n",
        b"0 path=x\n",
        b"5 path=x\n",
        b"11 path=x\n",
        b"8 path=x\n\n",
        b"path=x\n",
        b" path=x\n",
        b"-9 path=x\n",
        b"9  path\n",
        b"7 path\n",
        b"5 =x\n",
        b"6 path=",
        b"9 path=xx",
        b"9 path=x\n\0",
        b"9 path=x\n9",
        b"9" * 100,
        b"\0" * 9,
    ],
)
def test_a_malformed_record_is_refused(block: bytes) -> None:
    refused(Tar().extension(b"x", block).file("a"), "byte 0: extended header: malformed record")


def test_of_two_records_of_one_keyword_the_last_counts() -> None:
    block = record("path", b"first") + record("path", b"second")

    assert scan(Tar().extension(b"x", block).file("a"))[0].name == b"second"


def test_values_may_hold_anything_but_names_no_zero_byte() -> None:
    assert scan(Tar().file("a", pax={"SCHILY.xattr.user.b": b"\0=\n\xff"}))[0].xattrs == ((b"user.b", b"\0=\n\xff"),)
    for keyword in ("path", "linkpath", "GNU.sparse.name"):
        refused(Tar().file("a", pax={keyword: b"a\0b"}), f"a zero byte in {keyword}")


def test_records_for_all_members_are_not_looked_at() -> None:
    tar = Tar().pax_global({"path": "g", "uid": "x", "comment": "commit"}).file("a").extension(b"g", b"junk").file("b")

    assert [(entry.name, entry.uid) for entry in scan(tar)] == [(b"a", 0), (b"b", 0)]


def test_gnu_long_names_and_links() -> None:
    tar = Tar().gnu_long_name("n" * 300).file("cut", magic=GNU).gnu_long_link("t" * 300).gnu_long_name("l" * 300)
    tar.symlink("cut", "cut", magic=GNU)

    assert [(entry.name, entry.link) for entry in scan(tar)] == [(b"n" * 300, b""), (b"l" * 300, b"t" * 300)]


def test_one_member_may_have_records_and_a_long_name() -> None:
    tar = Tar().pax({"uid": "7"}).gnu_long_name("n" * 300).file("cut")
    tar.gnu_long_name("m" * 300).pax({"uid": "8"}).file("cut")

    assert [(entry.name[:1], entry.uid) for entry in scan(tar)] == [(b"n", 7), (b"m", 8)]


@pytest.mark.parametrize("body", [b"", b"\0", b"a\0b", b"a\0b\0"])
def test_a_long_name_that_is_empty_or_has_a_zero_byte_is_refused(body: bytes) -> None:
    refused(Tar().extension(b"L", body).file("a"), "empty, or has a zero byte")
    refused(Tar().extension(b"K", body).symlink("a", "t"), "empty, or has a zero byte")


@pytest.mark.parametrize(
    "tar",
    [
        Tar().pax({"path": "a"}).pax({"path": "b"}),
        Tar().pax({"uid": "1"}).pax_global({}).pax({"gid": "2"}),
        Tar().gnu_long_name("a").gnu_long_name("b"),
        Tar().gnu_long_link("a").gnu_long_link("b"),
        Tar().pax({"path": "a"}).gnu_long_name("b"),
        Tar().gnu_long_link("a").pax({"linkpath": "b"}),
    ],
)
def test_two_extension_headers_for_one_thing_are_refused(tar: Tar) -> None:
    refused(tar.symlink("x", "y"), "two extension headers")


@pytest.mark.parametrize("tar", [Tar().pax({"path": "a"}), Tar().gnu_long_name("a"), Tar().gnu_long_link("a")])
@pytest.mark.parametrize("end", [0, 1, 2])
def test_an_extension_header_for_nothing_is_refused(tar: Tar, end: int) -> None:
    refused(tar.to_bytes(end=end), "the archive ends behind an extension header")


@pytest.mark.parametrize("flag", [b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("size", [(1 << 20) + 1, 2**30, 2**88, -1])
def test_an_extension_header_of_more_than_a_mebibyte_is_refused_before_it_is_read(flag: bytes, size: int) -> None:
    refused(Tar().raw(header("x", typeflag=flag, size=base256(size, 12))), f"an extension header of {size} bytes")


def test_more_records_than_anybody_needs_are_refused() -> None:
    refused(Tar().extension(b"x", record("a", b"") * 100_000).file("a"), "100000 records")


# Sparse files


def sparse_1_0(size: int, runs: list[tuple[int, int]], data: bytes, **changes: str) -> Tar:
    numbers = [len(runs), *(number for run in runs for number in run)]
    block = "".join(f"{number}\n" for number in numbers).encode()
    body = block.ljust((len(block) + BLOCK - 1) // BLOCK * BLOCK, b"\0") + data
    said = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": str(size)}
    return Tar().file("GNUSparseFile.1/s", body, pax=said | changes)


def sparse_0_1(size: int, text: str, data: bytes, **changes: str) -> Tar:
    said = {"GNU.sparse.size": str(size), "GNU.sparse.numblocks": str((text.count(",") + 1) // 2)}
    return Tar().file("s", data, pax=said | {"GNU.sparse.map": text} | changes)


def sparse_0_0(size: int, runs: list[tuple[int, int]], data: bytes) -> Tar:
    pairs = b"".join(
        record(f"GNU.sparse.{keyword}", b"%d" % number)
        for run in runs
        for keyword, number in zip(("offset", "numbytes"), run, strict=True)
    )
    said = records({"GNU.sparse.size": str(size), "GNU.sparse.numblocks": str(len(runs))})
    return Tar().extension(b"x", said + pairs).file("s", data)


def sparse_old(size: int, runs: list[tuple[int, int]], data: bytes, **fields: bytes) -> Tar:
    packed = b"".join(octal(number, 12) for run in runs for number in run)
    first, rest = packed[:96], packed[96:]
    block = bytearray(header("s", typeflag=b"S", size=len(data), magic=fields.get("magic", GNU)))
    block[386 : 386 + len(first)] = first
    block[482], block[483:495] = bool(rest), octal(size, 12)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 8 * 32)
    more = [rest[at : at + 504] for at in range(0, len(rest), 504)]
    chain = b"".join(part.ljust(504, b"\0") + bytes([part is not more[-1]]) + bytes(7) for part in more)
    return Tar().raw(bytes(block) + chain + data + bytes(-len(data) % BLOCK))


RUNS = [(0, 600), (1024, 100), (5000, 424), (10_000, 0)]
DATA = bytes(range(256)) * 4 + bytes(100)
MAKERS = {
    "1.0": sparse_1_0,
    "0.1": lambda size, runs, data: sparse_0_1(size, ",".join(f"{at},{length}" for at, length in runs), data),
    "0.0": sparse_0_0,
    "old": sparse_old,
}


@pytest.mark.parametrize("version", MAKERS)
def test_a_sparse_file_is_its_runs_and_the_holes_between(version: str) -> None:
    tar = MAKERS[version](10_000, RUNS, DATA).file("next", b"1").to_bytes()
    sparse, following = scan(tar)

    assert (sparse.name, sparse.kind, sparse.size, following.name) == (b"s", Kind.REGULAR, 10_000, b"next")
    assert [(extent.logical, extent.length) for extent in sparse.extents] == RUNS[:3]
    assert b"".join(tar[extent.offset : extent.offset + extent.length] for extent in sparse.extents) == DATA


@pytest.mark.parametrize("version", MAKERS)
def test_a_sparse_file_may_be_one_hole(version: str) -> None:
    (entry,) = scan(MAKERS[version](10_000, [(10_000, 0)], b""))

    assert (entry.size, entry.extents) == (10_000, ())


@pytest.mark.parametrize("version", MAKERS)
def test_a_sparse_file_may_have_many_runs(version: str) -> None:
    runs = [(number * 1000, 1) for number in range(300)]
    (entry,) = scan(MAKERS[version](300_000, runs, bytes(300)))

    assert [(extent.logical, extent.length) for extent in entry.extents] == runs


@pytest.mark.parametrize("version", MAKERS)
@pytest.mark.parametrize(
    "runs",
    [
        [(0, 600), (599, 524)],
        [(1024, 600), (0, 524)],
        [(0, 600), (9999, 524)],
        [(10_001, 0), (0, 1124)],
        [(0, 600)],
        [(0, 600), (1000, 525)],
        [(0, 1124), (0, 0)],
        [(2**32, 600), (2**33, 524)],
    ],
)
def test_runs_that_make_no_file_are_refused(version: str, runs: list[tuple[int, int]]) -> None:
    with pytest.raises(InvalidError, match="sparse map"):
        scan(MAKERS[version](10_000, runs, DATA))


@pytest.mark.parametrize(
    "tar",
    [
        sparse_0_1(10, "0,5,", b"12345"),
        sparse_0_1(10, "0", b""),
        sparse_0_1(10, "0,5,7", b"12345"),
        sparse_0_1(10, "0,-5", b"12345"),
        sparse_0_1(10, "-1,5", b"12345"),
        sparse_0_1(10, "0x0,5", b"12345"),
        sparse_0_1(10, "0,5", b"12345", **{"GNU.sparse.numblocks": "2"}),
        sparse_0_1(10, "0,5", b"12345", **{"GNU.sparse.size": "x"}),
        sparse_0_1(10, "0,5", b"12345", **{"GNU.sparse.size": "4"}),
        sparse_0_1(10, "0,5", b"12345", **{"GNU.sparse.major": "2"}),
        sparse_1_0(10, [(0, 5)], b"12345", **{"GNU.sparse.minor": "1"}),
        sparse_1_0(10, [(0, 5)], b"12345", **{"GNU.sparse.realsize": "-1"}),
        sparse_1_0(10, [(0, 5)], b"12345", **{"GNU.sparse.realsize": ""}),
        Tar().extension(b"x", record("GNU.sparse.offset", b"0") * 2).file("s"),
        Tar().extension(b"x", record("GNU.sparse.numbytes", b"0")).file("s"),
        Tar().file("s", b"x", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
        Tar().directory("s", pax={"GNU.sparse.size": "10"}),
        sparse_old(10, [(0, 5)], b"12345", magic=b"ustar\x0000"),
        sparse_old(10, [(0, 5)], b"12345", magic=bytes(8)),
    ],
)
def test_a_sparse_member_that_contradicts_itself_is_refused(tar: Tar) -> None:
    refused(tar, "sparse|unknown type flag")


@pytest.mark.parametrize(
    "body",
    [b"99999999\n0\n5\n", b"x\n", b"1\n0\n", b"1\n0\n-5\n", b"1 \n0\n5\n", b"\n\n\n", b"1" * 600, b"-1\n", b""],
)
def test_a_map_in_a_body_that_is_no_map_is_refused(body: bytes) -> None:
    said = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10"}

    refused(Tar().file("s", body, pax=said).file("next"), "sparse map|breaks off")


def test_a_sparse_bomb_is_stopped_by_its_size() -> None:
    with pytest.raises(ExhaustedError, match="holes included; raise max_layer_bytes"):
        scan(sparse_1_0(2**40, [(0, 0)], b""))


def test_maps_are_limited() -> None:
    runs = [(number * 2, 1) for number in range(100_000)]

    with pytest.raises(InvalidError, match="sparse map: longer than its body, or than 4096 bytes"):
        scan(sparse_1_0(200_000, runs, bytes(100_000)), Limits(max_header_bytes=4096))
    with pytest.raises(InvalidError, match="sparse map: longer than 4096 bytes"):
        scan(sparse_old(200_000, runs[:1000], bytes(1000)), Limits(max_header_bytes=4096))
