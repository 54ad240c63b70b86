"""Any bytes as a layer: read, resolved, merged on another layer, and encoded as a metadata image.

The first byte says whether the checksums of what looks like headers are made right, so that mutations get behind them.
"""

import io
from collections.abc import Iterator

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from prestow.layers.erofs.image import encode
    from prestow.layers.limits import Limits
    from prestow.layers.tar.reader import entries
    from prestow.layers.tree import compose, layer_tree, merge, walk

from tests.image_factory import demo_layers
from tests.tar_builder import BLOCK, GNU, Tar, records

_LIMITS = Limits(max_layer_bytes=1 << 40, max_entries=100)
_LOWER = layer_tree(entries(io.BytesIO(demo_layers("amd64")[0]), limits=_LIMITS), 0)


def sealed(tar: bytes) -> bytes:
    """Return a tar with right checksums in all header blocks of a known dialect."""
    blocks = bytearray(tar)
    for at in range(0, len(blocks) - BLOCK + 1, BLOCK):
        if blocks[at + 257 : at + 262] == b"ustar":
            blocks[at + 148 : at + 156] = b" " * 8
            blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + BLOCK])
    return bytes(blocks)


def check(data: bytes) -> None:
    """Take the bytes all the way."""
    tar = sealed(data[1:]) if data[:1] != b"\0" else data[1:]
    found = list(entries(io.BytesIO(tar), limits=_LIMITS))
    for entry in found:
        assert all(0 <= at <= len(tar) - length for _, at, length in entry.extents)
        assert all(0 <= logical <= entry.size - length for logical, _, length in entry.extents)
        assert entry.uid < 2**32 - 1 > entry.gid
    layer = layer_tree(found, 1, limits=_LIMITS)
    root = merge(merge(None, _LOWER), layer)
    assert list(map(_plain, walk(root))) == list(map(_plain, walk(merge(None, compose(_LOWER, layer)))))
    image = encode(root, [1 << 20, len(tar)])
    if image.size < 1 << 20:
        target = io.BytesIO()
        image.write(target)
        assert len(target.getvalue()) == image.size


def _plain(found: tuple[bytes, object]) -> bytes:
    return found[0]


def seeds() -> Iterator[bytes]:
    """Archives in every dialect."""
    for tar in demo_layers("amd64"):
        yield b"\1" + tar[: 20 * BLOCK]
    runs = b"1\n0\n3\n".ljust(BLOCK, b"\0") + b"abc"
    version = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": "900"}
    many = (
        Tar().directory("d").file("d/f", b"1").hardlink("h", "d/f").symlink("l", "d").file("l/x", b"2"),
        Tar().whiteout("etc/motd").opaque("bin").char("c", 1, 3).block("b", 8, 0).fifo("p"),
        Tar().file("n" * 120, b"x", xattrs={"user.a": "b"}, pax={"mtime": "1.5", "uid": "7", "size": "1"}),
        Tar().member("s", runs, pax=version),
        Tar().member("s", b"abc", pax={"GNU.sparse.size": "900", "GNU.sparse.map": "5,3"}),
        Tar().member("s", b"abc", pax={"GNU.sparse.size": "9", "GNU.sparse.offset": "0", "GNU.sparse.numbytes": "3"}),
        Tar().member("././@LongLink", b"n" * 200 + b"\0", typeflag=b"L").file("n"),
        Tar().member("././@LongLink", b"n" * 200 + b"\0", typeflag=b"K").symlink("n", "x"),
        Tar().member("pax", records({"path": "other", "hdrcharset": "BINARY"}), typeflag=b"x").file("n"),
        Tar().member("g", records({"path": "all"}), typeflag=b"g").file("n"),
        Tar().file("usr/bin/x", magic=GNU, prefix=b"00000000000\x0000000000000\0", uid=b"\x80\0\0\0\0\0\1\0"),
        Tar().file("f", magic=b"\0" * 8),
    )
    for archive in many:
        yield b"\1" + archive.to_bytes()
        yield b"\0" + archive.to_bytes()


if __name__ == "__main__":
    fuzz(check, seeds())
