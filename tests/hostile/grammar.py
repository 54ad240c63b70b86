"""Rows A-65 to A-86: the grammar of tar, where two readers could see two archives."""

import stat
from collections.abc import Mapping
from pathlib import Path

from prestow.errors import ExhaustedError
from prestow.layers.limits import Limits
from tests.hostile.case import Blob, Case, accepted, refused, zipped
from tests.tar_builder import BLOCK, GNU, USTAR, Tar, base256, header, octal, records

SMUGGLED = Tar().file("smuggled", b"evil").to_bytes()
"""What must never be taken for members: it is some file's content."""

FOUR = Tar().directory("d").file("d/f", b"x" * 700).symlink("l", "d").file("g", b"1").to_bytes()
SPARSE_1_0 = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s"}


def sparse(numbers: str, size: int | str, data: bytes = b"", **more: str) -> Tar:
    """Return a sparse file with its map in front of its data, as format 1.0 has it."""
    text = numbers.replace(" ", "\n").encode() + b"\n"
    body = text + bytes(-len(text) % BLOCK) + data
    return Tar().file("GNUSparseFile.0/s", body, pax={**SPARSE_1_0, "GNU.sparse.realsize": str(size), **more})


def sparse_records(fields: Mapping[str, str], data: bytes = b"") -> Tar:
    """Return a sparse file with its map in records, as format 0.1 has it."""
    return Tar().file("s", data, pax=fields)


def sparse_old(runs: list[tuple[int, int]], size: int, data: bytes = b"", *, more: int = 0, chain: bytes = b"") -> Tar:
    """Return a sparse file of the old GNU format."""
    block = bytearray(header("s", typeflag=b"S", size=len(data), magic=GNU))
    packed = b"".join(octal(number, 12) for run in runs for number in run)
    block[386 : 386 + len(packed)] = packed
    block[482], block[483:495] = more, octal(size, 12)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 8 * ord(" "))
    return Tar().raw(bytes(block) + chain + data + bytes(-len(data) % BLOCK))


def _damaged() -> bytes:
    data = bytearray(FOUR)
    data[BLOCK] ^= 1  # in the name of the second member
    return bytes(data)


def _holes(path: Path, size: int) -> bool:
    """Whether a file has this size and hardly any blocks."""
    status = path.stat()
    return status.st_size == size and stat.S_ISREG(status.st_mode) and path.read_bytes().strip(b"\0") == b"data"


EXTENSIONS: list[Case] = [
    accepted(
        "A-65",
        "no size in the header, one in the record",
        Tar().raw(b"").pax({"size": str(len(SMUGGLED))}).raw(header("f") + SMUGGLED),
        shows=f"f=#{len(SMUGGLED)}",
    ),
    accepted(
        "A-65",
        "a size in the header, none in the record",
        Tar().file("f", SMUGGLED, size=len(SMUGGLED), pax={"size": ""}),
        shows=f"f=#{len(SMUGGLED)}",
    ),
    *(
        refused(
            "A-66",
            f"size {size!r}",
            Tar().pax({"size": size}).raw(header("f", size=len(SMUGGLED)) + SMUGGLED),
            word="size",
        )
        for size in ("abc", "-512", "1_0", "0x10", " 5", "+5", "\u0665", "5.0", "1e3", "5\0", "9" * 21)
    ),
    *(
        refused("A-67", f"record {raw!r}", Tar().extension(b"x", raw).file("f"), word="malformed record")
        for raw in (
            b"99 path=x\n",
            b"0 path=x\n",
            b"9 path=xx\n",
            b"8 path=x\n",
            b"6 path\n",
            b"9 path=xy",
            b"path=x\n",
            b"garbage",
            b"-9 path=x\n",
            b"5 =x\n",
            b"1" * 30 + b" path=x\n",
            b"9 path=x\n\0",
        )
    ),
    accepted(
        "A-68",
        "two records of one keyword",
        Tar().extension(b"x", records({"path": "a"}) + records({"path": "b"})).file("f"),
        shows="b=",
    ),
    refused(
        "A-69",
        "two extended headers",
        Tar().pax({"path": "a"}).pax({"uid": "1"}).file("f"),
        word="two extension headers",
    ),
    refused(
        "A-69",
        "an extended header and the end",
        Tar().file("f").pax({"path": "a"}),
        word="ends behind an extension header",
    ),
    refused(
        "A-69", "an extended header and nothing", Tar().file("f").pax({"path": "a"}).to_bytes(end=0), word="ends behind"
    ),
    refused(
        "A-69",
        "two names",
        Tar().pax({"path": "a"}).gnu_long_name("b").file("f"),
        word="two extension headers that set path",
    ),
    refused(
        "A-69",
        "two targets",
        Tar().pax({"linkpath": "a"}).gnu_long_link("b").symlink("f", "c"),
        word="that set linkpath",
    ),
    refused(
        "A-69", "two long names", Tar().gnu_long_name("a").gnu_long_name("b").file("f"), word="two extension headers"
    ),
    *(
        refused(
            "A-70",
            f"an extension header {flag.decode()} of {size} bytes",
            Tar().raw(header("x", typeflag=flag, size=base256(size, 12))),
            word=f"an extension header of {size} bytes",
        )
        for flag in (b"x", b"g", b"L", b"K")
        for size in (2**30, 2**40, 2**88, -512)
    ),
    refused(
        "A-71",
        "records of more than a mebibyte",
        Tar().extension(b"x", b"6 a=b\n" * 200_000).file("f"),
        word="extension header of",
    ),
    refused("A-71", "150000 records", Tar().extension(b"x", b"6 a=b\n" * 150_000).file("f"), word="150000 records"),
]

MEMBERS: list[Case] = [
    *(
        refused(
            "A-72",
            f"size {size}",
            Tar().file("f", b"1").raw(header("d", size=base256(size, 12)) + SMUGGLED),
            word=f"size {size}",
        )
        for size in (-1, -256, -512, -1536, -(2**80))
    ),
    refused(
        "A-73",
        "size 2^63-1",
        Tar().file("f", size=base256(2**63 - 1, 12)),
        error=ExhaustedError,
        word="max_layer_bytes",
    ),
    refused(
        "A-73",
        "size 2^63-1 in a record",
        Tar().file("f", pax={"size": str(2**63 - 1)}),
        error=ExhaustedError,
        word="max_layer_bytes",
    ),
    refused("A-73", "a size beyond the layer", Tar().file("f", b"1", size=1 << 20), word="breaks off"),
    refused("A-74", "a wrong checksum inside", _damaged(), word="byte 512: wrong checksum"),
    refused("A-74", "text for a checksum", Tar().raw(header("f", checksum=b"checksum")), word="expected octal digits"),
    *(
        refused("A-75", f"cut {label}", FOUR[:end], word="breaks off")
        for label, end in {
            "in the first header": 100,
            "in a header": 600,
            "in a body": 1200,
            "in the padding": 1800,
            "in the last header": 2700,
            "in the last padding": 3500,
        }.items()
    ),
    accepted("A-75", "cut in the end", FOUR[:-BLOCK], shows="d/ d/f=#700 g=1 l->d"),
    accepted("A-76", "no end", FOUR[: -2 * BLOCK], shows="d/ d/f=#700 g=1 l->d"),
    refused("A-77", "one zero block inside", Tar().file("f").raw(bytes(BLOCK)).file("g"), word="a single zero block"),
    accepted("A-78", "members behind the end", Tar().file("f", b"1").to_bytes() + SMUGGLED, shows="f=1"),
    accepted("A-78", "junk behind the end", Tar().file("f", b"1").to_bytes() + b"junk" * 999, shows="f=1"),
    accepted("A-79", "a layer of nothing", Blob(b"", "application/vnd.oci.image.layer.v1.tar"), shows=""),
    accepted("A-79", "a layer of nothing, compressed", b"", shows=""),
    accepted("A-79", "a layer of zeros", bytes(1024), shows=""),
    accepted("A-79", "a layer of nothing on another", Tar().file("f", b"1"), b"", shows="f=1"),
    accepted(
        "A-82",
        "headers of v7",
        Tar().file("f", b"1", magic=bytes(8), prefix="p").directory("d", magic=bytes(8)),
        shows="d/ f=1",
    ),
    accepted("A-82", "GNU's mark and a prefix", Tar().file("f", b"1", magic=GNU, prefix="p"), shows="p/ p/f=1"),
    accepted("A-82", "ustar and a prefix", Tar().file("f", b"1", magic=USTAR, prefix="p/q"), shows="p/ p/q/ p/q/f=1"),
    refused(
        "A-83",
        "a folder with a body",
        Tar().raw(header("d/", typeflag=b"5", size=512) + b"x" * BLOCK),
        word="octal digits",
    ),
    refused("A-83", "a symlink with a body", Tar().symlink("l", "t", size=512).raw(b"x" * BLOCK), word="octal digits"),
    accepted(
        "A-83",
        "a folder and a symlink with sizes",
        Tar().directory("d", size=512).symlink("l", "t", size=9).file("f", b"1"),
        shows="d/ f=1 l->t",
    ),
    accepted(
        "A-84", "one path twice", Tar().file("f", b"1").symlink("f", "x").file("f", b"2").file("./f", b"3"), shows="f=3"
    ),
    refused(
        "A-85",
        "more entries than allowed",
        lambda: zipped(_files(2000), "gzip"),
        error=ExhaustedError,
        word="more than 1000 entries; raise max_layer_entries",
        limits=Limits(max_entries=1000),
    ),
    accepted(
        "A-85",
        "5000 entries",
        lambda: zipped(_files(5000), "zstd"),
        shows=None,
        also=lambda root: len(list(root.iterdir())) == 5000,
    ),
    refused(
        "A-86",
        "a limit inside a layer",
        Tar().file("a", b"x" * 900).file("b", b"x" * 900),
        error=ExhaustedError,
        word="max_layer_bytes",
        limits=Limits(max_layer_bytes=3000),
    ),
    refused(
        "A-86",
        "a limit inside the second layer",
        Tar().file("a"),
        lambda: zipped(_files(11), "gzip"),
        error=ExhaustedError,
        word="max_layer_entries",
        limits=Limits(max_entries=10),
    ),
]

SPARSE: list[Case] = [
    refused(
        "A-80", "a hole of 2^40 bytes", sparse("1 0 0", 1 << 40), error=ExhaustedError, word="raise max_layer_bytes"
    ),
    refused(
        "A-80",
        "a hole of 2^40 bytes in records",
        sparse_records({"GNU.sparse.size": str(1 << 40)}),
        error=ExhaustedError,
        word="raise max_layer_bytes",
    ),
    refused(
        "A-80",
        "an old hole of 2^33 bytes",
        sparse_old([], 8**11 - 1),
        error=ExhaustedError,
        word="raise max_layer_bytes",
        limits=Limits(max_layer_bytes=1 << 30),
    ),
    refused(
        "A-80",
        "many holes that are too much in all",
        Tar().raw(b"".join(sparse("0", 1 << 29).to_bytes(end=0) for _ in range(3))),
        error=ExhaustedError,
        word="raise max_layer_bytes",
        limits=Limits(max_layer_bytes=1 << 30),
    ),
    accepted(
        "A-80",
        "a hole of 8 MiB around data",
        sparse("2 4096 4 8388608 0", 1 << 23, b"data"),
        shows=f"s=#{1 << 23}",
        also=lambda root: _holes(root / "s", 1 << 23),
    ),
    *(
        refused("A-81", f"a map {label}", sparse(numbers, size, b"12345678"), word=word)
        for label, numbers, size, word in (
            ("of very many runs", "999999999999 0 1", 9, "sparse map"),
            ("that overlaps", "2 0 4 2 4", 20, "do not ascend"),
            ("that descends", "2 8 4 0 4", 20, "do not ascend"),
            ("beyond the file", "1 16 8", 20, "pass the end"),
            ("with negative numbers", "1 -8 8", 20, "expected decimal digits"),
            ("of words", "1 a b", 20, "expected decimal digits"),
            ("with less than is stored", "1 0 4", 20, "4 bytes in its runs, but 8 are stored"),
            ("with more than is stored", "1 0 16", 20, "16 bytes in its runs, but 8 are stored"),
            ("that wraps", f"1 {2**64 - 4} 8", 20, "pass the end"),
            ("for no size", "1 0 8", "x", "size of a sparse file"),
        )
    ),
    refused(
        "A-81",
        "a map without an end",
        Tar().file("s", b"1" * BLOCK, pax={**SPARSE_1_0, "GNU.sparse.realsize": "9"}),
        word="sparse map",
    ),
    refused(
        "A-81",
        "a map of an odd number of numbers",
        sparse_records({"GNU.sparse.size": "9", "GNU.sparse.map": "0,1,2"}, b"1"),
        word="sparse map",
    ),
    refused(
        "A-81",
        "a map of another count",
        sparse_records({"GNU.sparse.size": "9", "GNU.sparse.map": "0,1", "GNU.sparse.numblocks": "2"}, b"1"),
        word="not as many runs",
    ),
    refused(
        "A-81",
        "records that do not alternate",
        Tar().extension(b"x", records({"GNU.sparse.size": "9", "GNU.sparse.numbytes": "1"})).file("s"),
        word="do not alternate",
    ),
    refused("A-81", "a version that nobody knows", sparse("0", 9, **{"GNU.sparse.major": "2"}), word="unknown version"),
    refused(
        "A-81",
        "a sparse symlink",
        Tar().symlink("s", "t", pax={**SPARSE_1_0, "GNU.sparse.realsize": "9"}),
        word="not a regular file",
    ),
    refused("A-81", "an old map that overlaps", sparse_old([(0, 4), (2, 4)], 20, b"12345678"), word="do not ascend"),
    refused("A-81", "an old map beyond the file", sparse_old([(0, 8)], 4, b"12345678"), word="pass the end"),
    refused(
        "A-81",
        "an old map without an end",
        sparse_old([], 4, more=1, chain=(bytes(504) + b"\1" + bytes(7)) * 2100),
        word="sparse map: longer than",
    ),
    refused("A-81", "an old map and no chain", sparse_old([], 4, more=1).to_bytes(end=0), word="breaks off"),
]


def _files(count: int) -> Tar:
    tar = Tar()
    for number in range(count):
        tar.file(str(number))
    return tar
