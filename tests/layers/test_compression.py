"""Decompression: complete to the last byte, what the media type says and nothing else, and never more than allowed."""

import gzip
import io
import os
import resource
import subprocess
import zlib
from collections.abc import Callable
from itertools import pairwise

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import ExhaustedError, InvalidError, StorageError
from prestow.layers.compression import decompressed
from prestow.layers.limits import GRACE, Limits
from prestow.oci.mediatypes import Compression
from tests.tar_builder import Tar

TAR = Tar().file("a", os.urandom(3000)).file("b", b"text " * 100_000).to_bytes()
MIB = 1 << 20


def read(blob: bytes, compression: Compression, **limits: int) -> bytes:
    return b"".join(decompressed(io.BytesIO(blob), compression, limits=Limits(**limits)))


def zstd(data: bytes, *, checksum: bool = True, **options: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, write_checksum=checksum, **options)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def streamed(data: bytes) -> bytes:
    """Compress to a frame that does not tell its size."""
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join([packer.compress(data), packer.flush()])


def skippable(data: bytes, kind: int = 0) -> bytes:
    return bytes([0x50 + kind]) + b"\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


COMPRESSORS: dict[Compression, Callable[[bytes], bytes]] = {"none": bytes, "gzip": gzip.compress, "zstd": zstd}


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_what_was_compressed_comes_back_in_pieces_of_a_mebibyte_at_most(compression: Compression) -> None:
    data = os.urandom(3 * MIB + 5) + bytes(MIB)
    pieces = list(decompressed(io.BytesIO(COMPRESSORS[compression](data)), compression, limits=Limits()))

    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= MIB
    assert min(map(len, pieces)) > 0


@pytest.mark.parametrize("said", COMPRESSORS)
@pytest.mark.parametrize("found", COMPRESSORS)
def test_media_type_and_bytes_must_agree(said: Compression, found: Compression) -> None:
    blob = COMPRESSORS[found](TAR)

    if said == found:
        assert read(blob, said) == TAR
    else:
        with pytest.raises(InvalidError, match=f"compression {said}, its first bytes [0-9a-f]+ say {found}"):
            read(blob, said)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_nothing_is_not_compressed(compression: Compression) -> None:
    with pytest.raises(InvalidError, match="first bytes are missing"):
        read(b"", compression)


def test_no_bytes_are_a_plain_layer() -> None:
    assert read(b"", "none") == b""


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=2000), keep=st.integers(0, 4000))
def test_a_cut_stream_is_refused(compression: Compression, data: bytes, keep: int) -> None:
    blob = COMPRESSORS[compression](data)

    with pytest.raises(InvalidError):
        read(blob[: keep % len(blob)], compression)


@settings(deadline=None, max_examples=100)
@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 3000), max_size=5), pad=st.integers(0, 600))
def test_all_members_of_gzip_count_and_zero_bytes_may_pad_the_end(data: bytes, cuts: list[int], pad: int) -> None:
    edges = [0, *sorted(cuts), len(data)]
    parts = [data[start:end] for start, end in pairwise(edges)]

    assert read(b"".join(map(gzip.compress, parts)) + bytes(pad), "gzip") == b"".join(parts)


@settings(deadline=None, max_examples=100)
@given(parts=st.lists(st.tuples(st.binary(max_size=1000), st.integers(0, 2)), min_size=1, max_size=6))
def test_all_frames_of_zstd_count_and_skippable_ones_are_skipped(parts: list[tuple[bytes, int]]) -> None:
    made = (zstd, streamed, skippable)
    blob = b"".join(made[kind](data) for data, kind in parts)

    assert read(blob, "zstd") == b"".join(data for data, kind in parts if kind < 2)


@pytest.mark.parametrize("kind", range(16))
def test_a_stream_may_begin_with_any_skippable_frame(kind: int) -> None:
    assert read(skippable(b"table", kind) + zstd(TAR), "zstd") == TAR


@pytest.mark.parametrize("rest", [b"x", b"\x1f", b"\x1f\x8b", b"\0\0x", b"\0" * 600 + b"x", TAR])
def test_other_bytes_behind_gzip_are_refused(rest: bytes) -> None:
    with pytest.raises(InvalidError, match="gzip"):
        read(gzip.compress(TAR) + rest, "gzip")


@pytest.mark.parametrize(
    "rest", [b"\0", b"x", bytes(512), b"\x28\xb5\x2f", gzip.compress(b"", mtime=0), skippable(b"abc")[:-1]]
)
def test_other_bytes_behind_zstd_are_refused(rest: bytes) -> None:
    with pytest.raises(InvalidError, match="zstd"):
        read(zstd(TAR) + rest, "zstd")


@pytest.mark.parametrize("at", [-1, -4, -5, -8, 100])
def test_a_changed_byte_of_gzip_is_refused(at: int) -> None:
    blob = bytearray(gzip.compress(TAR))
    blob[at] ^= 1

    with pytest.raises(InvalidError, match="gzip"):
        read(bytes(blob), "gzip")


def test_a_changed_byte_of_zstd_is_refused() -> None:
    blob = zstd(TAR)
    for at in [*range(4, 60), len(blob) - 1]:
        changed = bytearray(blob)
        changed[at] ^= 0x55
        with pytest.raises(InvalidError, match="zstd"):
            read(bytes(changed), "zstd")


def test_a_header_of_gzip_is_checked_and_limited() -> None:
    body = gzip.compress(TAR)[10:]
    named = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"
    checked = b"\x1f\x8b\x08\x02\0\0\0\0\0\xff"

    assert read(named + b"name\0" + body, "gzip") == TAR
    with pytest.raises(InvalidError, match="more than 512 KiB"):
        read(named + b"n" * MIB + b"\0" + body, "gzip")
    with pytest.raises(InvalidError, match="header"):
        read(checked + (zlib.crc32(checked) + 1 & 0xFFFF).to_bytes(2, "little") + body, "gzip")
    with pytest.raises(InvalidError, match="corrupt gzip"):
        read(b"\x1f\x8b\x07" + body, "gzip")


def test_a_window_of_more_than_128_mebibytes_is_refused() -> None:
    packer = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    ).compressobj()
    blob = packer.compress(b"x" * 1000) + packer.flush()

    with pytest.raises(InvalidError, match="too much memory"):
        read(blob, "zstd")


def test_a_dictionary_that_nobody_has_is_refused() -> None:
    words = zstandard.ZstdCompressionDict(b"layer layer layer words" * 50)
    blob = zstandard.ZstdCompressor(dict_data=words).compress(b"layer layer")
    changed = blob[:4] + bytes([blob[4] | 1]) + b"\x07" + blob[5:]

    with pytest.raises(InvalidError, match="zstd"):
        read(changed, "zstd")


def test_a_frame_of_another_size_than_it_says_is_refused() -> None:
    """The library lets it pass when it gets the blocks one by one and the last of them is empty."""
    magic, one_segment, says_74 = b"\x28\xb5\x2f\xfd", b"\xa0", b"\x4a\0\0\0"
    two_bytes, last_and_empty = b"\x10\0\0xy", b"\1\0\0"

    with pytest.raises(InvalidError, match="a frame of 2 bytes; its header says 74"):
        read(magic + one_segment + says_74 + two_bytes + last_and_empty, "zstd")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_is_stopped_after_a_piece_or_two(compression: Compression) -> None:
    blob = COMPRESSORS[compression](bytes(80 * MIB))
    sizes: list[int] = []

    with pytest.raises(ExhaustedError, match="decompress to more than 10 times as many; raise max_layer_ratio"):
        sizes.extend(map(len, decompressed(io.BytesIO(blob), compression, limits=Limits(max_ratio=10))))
    assert sum(sizes) <= max(GRACE, 10 * len(blob))


def test_a_bomb_of_one_gibibyte_takes_no_memory() -> None:
    blob = zstd(bytes(1 << 30))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert len(blob) < 50_000
    assert sum(map(len, decompressed(io.BytesIO(blob), "zstd", limits=Limits(max_ratio=1 << 20)))) == 1 << 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


@pytest.mark.parametrize("compression", COMPRESSORS)
def test_the_bytes_of_a_layer_are_limited(compression: Compression) -> None:
    blob = COMPRESSORS[compression](TAR)

    assert read(blob, compression, max_layer_bytes=len(TAR)) == TAR
    with pytest.raises(ExhaustedError, match=f"more than {len(TAR) - 1} bytes.*raise max_layer_bytes"):
        read(blob, compression, max_layer_bytes=len(TAR) - 1)


def test_a_small_layer_may_compress_as_well_as_it_likes() -> None:
    blob = gzip.compress(bytes(MIB))

    assert len(blob) < 1100
    assert len(read(blob, "gzip", max_ratio=1)) == MIB


@pytest.mark.parametrize("empty", [gzip.compress(b"", mtime=0), zstd(b""), skippable(b"")])
def test_many_empty_members_are_no_trouble(empty: bytes) -> None:
    compression: Compression = "gzip" if empty.startswith(b"\x1f") else "zstd"

    assert read(empty * 20_000, compression) == b""


@pytest.mark.parametrize("command", [["gzip", "-9"], ["pigz", "-c", "-p", "4", "-b", "128"], ["pigz", "-c", "-i"]])
def test_what_other_programs_compress_is_read(command: list[str]) -> None:
    data = TAR * 4
    blob = subprocess.run(command, input=data, capture_output=True, check=True).stdout

    assert read(blob, "gzip") == data


def test_a_disk_error_is_told_as_one() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, f"no {size} bytes")

    with pytest.raises(StorageError, match="reading a layer: Input/output error"):
        next(decompressed(Broken(), "none", limits=Limits()))
