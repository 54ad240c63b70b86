"""Decompressing ahead: a head start for *apply*, that shows nothing unproven and costs nothing when it fails."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.refs import diff_ref, layer_ref
from prestow.content.verify import verify
from prestow.digest import Digest
from prestow.errors import InvalidError, MismatchError, UnavailableError
from prestow.layers.ahead import ahead
from prestow.layers.apply import apply
from prestow.layers.growing import Growing
from prestow.layers.scans import Scans
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Layer
from tests.image_factory import compress, layer_type
from tests.tar_builder import Tar

TAR = Tar().directory("d").file("d/f", os.urandom(2_000_000)).file("g", b"2").to_bytes()
PIECE = 100_000


@pytest.fixture
def content(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "content", tmp_path / "ingest", lock_timeout=0.2)


@pytest.fixture
def scans(content: LocalStore) -> Scans:
    return Scans(content)


def a_layer(blob: bytes, compression: str = "gzip", diff_id: Digest | None = None) -> Layer:
    diff = diff_id or Digest.of(TAR)
    return Layer(0, 1, Descriptor(layer_type(compression), Digest.of(blob), len(blob)), diff, diff)


def pieces(blob: bytes) -> Iterator[bytes]:
    yield from (blob[start : start + PIECE] for start in range(0, len(blob), PIECE))


def fetch(content: LocalStore, layer: Layer, scans: Scans, parts: Iterator[bytes], *, seal: bool = True) -> None:
    """Write the parts as ``fetch_layer`` would."""
    with (
        ahead(content, layer, scans=scans) as arrived,
        content.writer(layer_ref(layer.descriptor.digest), total=layer.descriptor.size) as writer,
    ):
        for part in parts:
            writer.write(part)
            arrived(writer.offset)
        if seal:
            writer.seal()


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_when_the_bytes_are_here_the_layer_is_decompressed_too_and_still_invisible(
    content: LocalStore, scans: Scans, compression: str
) -> None:
    blob = compress(TAR, compression)
    layer = a_layer(blob, compression)

    fetch(content, layer, scans, pieces(blob))

    status = content.status(diff_ref(layer.diff_id))
    assert status is not None
    assert status.sealed
    assert list(content.walk()) == []


def test_apply_then_only_commits(content: LocalStore, scans: Scans) -> None:
    blob = compress(TAR, "gzip")
    layer = a_layer(blob)
    fetch(content, layer, scans, pieces(blob))
    verify(content, layer.descriptor)
    told: list[int] = []

    applied = apply(content, layer, scans=scans, progress=told.append)

    assert told == []
    assert (applied.size, applied.entries) == (len(TAR), 3)
    assert content.path(layer.diff_id).read_bytes() == TAR
    assert content.status(diff_ref(layer.diff_id)) is None


def test_a_download_that_breaks_off_leaves_no_half_tar_and_goes_on_later(content: LocalStore, scans: Scans) -> None:
    blob = compress(TAR, "gzip")
    layer, parts = a_layer(blob), list(pieces(blob))

    def broken() -> Iterator[bytes]:
        yield from parts[:5]
        raise UnavailableError("reset")

    with pytest.raises(UnavailableError):
        fetch(content, layer, scans, broken())
    assert content.status(diff_ref(layer.diff_id)) is None

    fetch(content, layer, scans, iter(parts[5:]))
    verify(content, layer.descriptor)

    status = content.status(diff_ref(layer.diff_id))
    assert status is not None
    assert status.sealed
    assert apply(content, layer, scans=scans).size == len(TAR)


def test_bytes_that_unpack_to_something_else_are_left_to_apply(content: LocalStore, scans: Scans) -> None:
    blob = compress(TAR, "gzip")
    layer = a_layer(blob, diff_id=Digest.of(b"something else"))

    fetch(content, layer, scans, pieces(blob))

    assert content.status(diff_ref(layer.diff_id)) is None
    verify(content, layer.descriptor)
    with pytest.raises(MismatchError, match="diff ID"):
        apply(content, layer, scans=scans)


def test_garbage_does_not_stop_the_download_and_apply_says_what_is_wrong(content: LocalStore, scans: Scans) -> None:
    blob = compress(TAR, "gzip")[:-20] + bytes(20)
    layer = a_layer(blob)

    fetch(content, layer, scans, pieces(blob))

    verify(content, layer.descriptor)
    with pytest.raises(InvalidError):
        apply(content, layer, scans=scans)


def test_where_somebody_else_decompresses_the_download_does_not_wait(content: LocalStore, scans: Scans) -> None:
    blob = compress(TAR, "gzip")
    layer = a_layer(blob)

    with content.writer(diff_ref(layer.diff_id)):
        fetch(content, layer, scans, pieces(blob))

    assert content.status(layer_ref(layer.descriptor.digest)).offset == len(blob)  # type: ignore[union-attr]


def test_nothing_to_fetch_is_nothing_to_decompress(content: LocalStore, scans: Scans) -> None:
    layer = a_layer(compress(TAR, "gzip"))

    fetch(content, layer, scans, iter(()), seal=False)

    assert content.status(diff_ref(layer.diff_id)) is None


def test_a_growing_file_reads_as_the_whole_one(tmp_path: Path) -> None:
    path, data = tmp_path / "data", os.urandom(50_000)
    path.touch()
    growing = Growing(lambda: path.open("rb", buffering=0), len(data))

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            for start in range(0, len(data), 7_000):
                file.write(data[start : start + 7_000])
                growing.reach(file.tell())
        growing.finish(complete=True)

    writer = threading.Thread(target=write)
    writer.start()
    assert growing.seek(0, os.SEEK_END) == len(data)
    assert growing.seek(10) == 10
    buffer = bytearray(20_000)
    assert growing.readinto(buffer) == 20_000
    rest = growing.read()
    writer.join()

    assert bytes(buffer) + rest == data[10:]
    assert growing.read(5) == b""
    growing.close()
