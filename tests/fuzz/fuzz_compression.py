"""Any bytes as a compressed layer: complete, or refused; what is accepted is what zlib and zstd themselves give.

The first byte says as what: gzip, zstd or nothing.
"""

import gzip
import io
from collections.abc import Iterator

import zstandard

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from prestow.layers.compression import decompressed
    from prestow.layers.limits import Limits
    from prestow.oci.mediatypes import Compression

_LIMITS = Limits(max_layer_bytes=4 << 20)
_KINDS: tuple[Compression, ...] = ("gzip", "zstd", "none")
_PIECE = 1 << 20


def check(data: bytes) -> None:
    """Decompress, and do it again with another library."""
    kind: Compression = _KINDS[data[0] % len(_KINDS)] if data else "none"
    blob = data[1:]
    found = bytearray()
    for piece in decompressed(io.BytesIO(blob), kind, limits=_LIMITS):
        assert 0 < len(piece) <= _PIECE
        found += piece
    if kind == "none":
        assert found == blob
    elif kind == "gzip":
        assert found == gzip.decompress(blob)
    else:
        unpacker = zstandard.ZstdDecompressor(max_window_size=128 << 20)
        assert found == unpacker.stream_reader(blob, read_across_frames=True).read()


def seeds() -> Iterator[bytes]:
    """Streams of one and several members, with all that a header can have."""
    text = b"some text, some text, some other text" * 20
    one = gzip.compress(text, mtime=0)
    named = b"\x1f\x8b\x08\x1c\0\0\0\0\0\3" + b"\4\0abcd" + b"name\0" + b"comment\0" + one[10:]
    for stream in (one, one + one, named, one + bytes(512), gzip.compress(b""), gzip.compress(bytes(1 << 20))):
        yield b"\0" + stream
    frame = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(text)
    plain = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(text)
    skippable = b"\x50\x2a\x4d\x18\5\0\0\0hello"
    run = zstandard.ZstdCompressor().compress(bytes(1 << 20))
    for stream in (frame, plain, frame + plain, skippable + frame, frame + skippable, run):
        yield b"\1" + stream
    yield b"\2" + text


if __name__ == "__main__":
    fuzz(check, seeds())
