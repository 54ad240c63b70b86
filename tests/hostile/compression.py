"""Rows A-87 to A-106: compression, digests, and what images are put together of."""

import gzip
import zlib
from functools import cache
from itertools import product

import zstandard

from prestow.errors import ExhaustedError, MismatchError, UnsupportedError
from prestow.layers.limits import Limits
from prestow.oci.mediatypes import DOCKER_FOREIGN_LAYER, OCI_FOREIGN_LAYER, OCI_LAYER
from tests.hostile.case import Blob, Case, Layer, accepted, refused, zipped
from tests.image_factory import compress, layer_type
from tests.tar_builder import Tar

TAR = Tar().file("f", b"x" * 2000).file("g", b"1").to_bytes()
SHOWN = "f=#2000 g=1"
GZIP, ZSTD, PLAIN = layer_type("gzip"), layer_type("zstd"), layer_type("none")
MIB = 1 << 20
SMALL = Limits(max_layer_bytes=64 * MIB)


def zstd(data: bytes, *, checksum: bool = False) -> bytes:
    """Compress to one frame."""
    return zstandard.ZstdCompressor(level=3, write_checksum=checksum).compress(data)


def skippable(data: bytes, kind: int = 0) -> bytes:
    """Return a frame that is to be skipped."""
    return bytes([0x50 + kind]) + b"\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def _windowed(log: int) -> Blob:
    """Return a frame that asks for a window of 2^log bytes."""
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(log - 10) << 3]) + (len(TAR) << 3 | 1).to_bytes(3, "little") + TAR
    return Blob(frame, ZSTD, TAR)


def _named(flag: int, field: bytes) -> bytes:
    """Return a gzip member with an optional field in its header."""
    return b"\x1f\x8b\x08" + bytes([flag]) + bytes(5) + b"\xff" + field + gzip.compress(TAR)[10:]


@cache
def _bomb(compression: str) -> Blob:
    return Blob(compress(bytes(256 * MIB), compression), layer_type(compression), b"")


def _flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def _many_empty(empty: bytes, whole: bytes, media_type: str) -> Layer:
    return lambda: Blob(empty * 20_000 + whole, media_type, TAR)


_ZIPPED, _FRAME, _CHECKED = gzip.compress(TAR), zstd(TAR), zstd(TAR, checksum=True)
_BYTES = {"plain": TAR, "gzip": _ZIPPED, "zstd": _FRAME, "zlib": zlib.compress(TAR)}
_TYPES = {"plain": PLAIN, "gzip": GZIP, "zstd": ZSTD}

COMPRESSION: list[Case] = [
    accepted(
        "A-87", "gzip in two members", Blob(gzip.compress(TAR[:700]) + gzip.compress(TAR[700:]), GZIP, TAR), shows=SHOWN
    ),
    refused(
        "A-87",
        "gzip in two members, the second cut",
        Blob((gzip.compress(TAR[:700]) + gzip.compress(TAR[700:]))[:-9], GZIP, TAR),
        word="gzip",
    ),
    accepted("A-88", "zeros behind gzip", Blob(_ZIPPED + bytes(1000), GZIP, TAR), shows=SHOWN),
    refused("A-88", "garbage behind gzip", Blob(_ZIPPED + b"garbage", GZIP, TAR), word="gzip"),
    refused(
        "A-88",
        "zeros, then a member, behind gzip",
        Blob(_ZIPPED + bytes(10) + _ZIPPED, GZIP, TAR),
        error=MismatchError,
        word="does not decompress to its diff ID",
    ),
    *(
        refused("A-89", f"gzip with {label}", Blob(data, GZIP, TAR), word="gzip")
        for label, data in {
            "its end cut": _ZIPPED[:-6],
            "its last byte cut": _ZIPPED[:-1],
            "its whole trailer cut": _ZIPPED[:-8],
            "another CRC": _flipped(_ZIPPED, -5),
            "another size": _flipped(_ZIPPED, -1),
            "its header only": _ZIPPED[:10],
        }.items()
    ),
    accepted("A-90", "zstd in two frames", Blob(zstd(TAR[:700]) + zstd(TAR[700:]), ZSTD, TAR), shows=SHOWN),
    accepted("A-90", "a frame to skip at the start", Blob(skippable(b"x" * 99) + _FRAME, ZSTD, TAR), shows=SHOWN),
    accepted(
        "A-90",
        "frames to skip inside",
        Blob(zstd(TAR[:700]) + skippable(b"", 7) + zstd(TAR[700:]) + skippable(b"x", 15), ZSTD, TAR),
        shows=SHOWN,
    ),
    refused(
        "A-90",
        "a frame to skip that ends early",
        Blob(_FRAME + skippable(b"x" * 99)[:-1], ZSTD, TAR),
        word="zstd ends early",
    ),
    *(
        refused("A-91", f"zstd cut by {count} bytes", Blob(_FRAME[:-count], ZSTD, TAR), word="zstd")
        for count in (1, 3, 20, len(_FRAME) - 5)
    ),
    refused("A-91", "zstd without its checksum", Blob(_CHECKED[:-4], ZSTD, TAR), word="zstd ends early"),
    refused("A-91", "zstd with another checksum", Blob(_flipped(_CHECKED, -1), ZSTD, TAR), word="corrupt zstd"),
    refused("A-91", "garbage behind zstd", Blob(_FRAME + b"garbage", ZSTD, TAR), word="followed by something else"),
    refused("A-92", "a window of 2 GiB", _windowed(31), word="corrupt zstd"),
    refused("A-92", "a window of 256 MiB", _windowed(28), word="corrupt zstd"),
    accepted("A-92", "a window of 128 MiB", _windowed(27), shows=SHOWN),
    *(
        refused(
            "A-93",
            f"a bomb of {compression}",
            lambda compression=compression: _bomb(compression),
            error=ExhaustedError,
            word="raise max_layer_bytes",
            limits=SMALL,
        )
        for compression in ("gzip", "zstd")
    ),
    refused(
        "A-93", "a bomb of zstd by its ratio", lambda: _bomb("zstd"), error=ExhaustedError, word="raise max_layer_ratio"
    ),
    refused(
        "A-93",
        "a bomb on another layer",
        Tar().file("f"),
        lambda: _bomb("zstd"),
        error=ExhaustedError,
        word="raise max_layer_bytes",
        limits=SMALL,
    ),
    refused(
        "A-94", "a gzip name of a mebibyte", Blob(_named(8, b"n" * MIB + b"\0"), GZIP, TAR), word="more than 512 KiB"
    ),
    accepted(
        "A-94",
        "a gzip header with an extra field",
        Blob(_named(4, b"\xff\xff" + b"x" * 0xFFFF), GZIP, TAR),
        shows=SHOWN,
    ),
    accepted("A-94", "20000 empty members", _many_empty(gzip.compress(b""), _ZIPPED, GZIP), shows=SHOWN),
    accepted("A-94", "20000 empty frames", _many_empty(zstd(b""), _FRAME, ZSTD), shows=SHOWN),
    accepted("A-94", "20000 frames to skip", _many_empty(skippable(b""), _FRAME, ZSTD), shows=SHOWN),
    *(
        refused(
            "A-95",
            f"{found} under the type of {said}",
            Blob(_BYTES[found], _TYPES[said], TAR),
            word="" if found == "zlib" else "media type",
        )
        for said, found in product(_TYPES, _BYTES)
        if said != found
    ),
    refused(
        "A-95",
        "a type that nobody knows",
        Blob(TAR, f"{OCI_LAYER}+bzip2", TAR),
        error=UnsupportedError,
        word="no file system layer",
    ),
    refused(
        "A-95",
        "a type of no layer",
        Blob(TAR, "application/octet-stream", TAR),
        error=UnsupportedError,
        word="no file system layer",
    ),
    refused(
        "A-96",
        "another diff ID",
        Blob(_ZIPPED, GZIP, TAR, said=b""),
        error=MismatchError,
        word="does not decompress to its diff ID",
    ),
    refused(
        "A-96",
        "a diff ID of what stands before the end",
        Blob(gzip.compress(TAR + b"payload"), GZIP, TAR),
        error=MismatchError,
        word="does not decompress to its diff ID",
    ),
    refused(
        "A-96",
        "another diff ID in the second layer",
        Tar().file("a"),
        Blob(_ZIPPED, GZIP, TAR, said=b"x"),
        error=MismatchError,
        word="layer 2 of 2",
    ),
    accepted("A-98", "one layer twice", zipped(TAR, "gzip"), zipped(TAR, "gzip"), shows=SHOWN),
    accepted(
        "A-98",
        "one layer twice, with another between",
        zipped(TAR, "gzip"),
        Tar().whiteout("f").file("g", b"2"),
        zipped(TAR, "zstd"),
        shows=SHOWN,
    ),
    accepted(
        "A-101",
        "names that mean something in mount options",
        Tar().file("a:b,c\\d/lowerdir=e", b"1"),
        Tar().file("a:b,c\\d/upperdir=f", b"2"),
        shows="a:b,c\\x5cd/ a:b,c\\x5cd/lowerdir\\x3de=1 a:b,c\\x5cd/upperdir\\x3df=2",
    ),
    accepted(
        "A-102", "layers that may not be distributed", Blob(_ZIPPED, f"{OCI_FOREIGN_LAYER}+gzip", TAR), shows=SHOWN
    ),
    accepted("A-102", "foreign layers of Docker", Blob(_ZIPPED, f"{DOCKER_FOREIGN_LAYER}.gzip", TAR), shows=SHOWN),
    refused(
        "A-102",
        "an encrypted layer",
        Blob(_ZIPPED, f"{OCI_LAYER}+gzip+encrypted", TAR),
        error=UnsupportedError,
        word="an encrypted layer",
    ),
    accepted(
        "A-106",
        "a table of contents that tells of other files",
        Tar().file("stargz.index.json", b'{"version":1,"entries":[{"name":"evil","type":"reg"}]}').file("g", b"1"),
        shows='g=1 stargz.index.json={"version":1,"entries":[{"name":"evil","type":"reg"}]}',
    ),
    accepted(
        "A-106",
        "a table of contents in a frame to skip",
        Blob(_FRAME + skippable(b'{"entries":[{"name":"evil"}]}', 14), ZSTD, TAR),
        shows=SHOWN,
    ),
]
