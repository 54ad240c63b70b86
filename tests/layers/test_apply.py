"""Applying a layer: its diff blob is there, whole and looked through, or nothing of it is."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from prestow.content.local import LocalStore
from prestow.content.refs import diff_ref, layer_ref
from prestow.content.writer import LocalWriter
from prestow.digest import Digest
from prestow.errors import (
    ExhaustedError,
    InvalidError,
    MismatchError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from prestow.layers.apply import Applied, apply
from prestow.layers.limits import Limits
from prestow.layers.scans import Scans
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Layer
from tests.image_factory import compress, layer_type
from tests.layers.model import scan as scanned
from tests.tar_builder import Tar

LIMITS = Limits()
TAR = Tar().directory("d").file("d/f", os.urandom(3_000_000)).file("g" * 150, b"2", xattrs={"user.a": "b"}).to_bytes()
COMPRESSIONS = ("none", "gzip", "zstd")


@pytest.fixture
def content(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "content", tmp_path / "ingest", lock_timeout=0.2)


def stored(content: LocalStore, blob: bytes, media_type: str, diff_id: Digest) -> Layer:
    """Put a layer's blob into the store."""
    digest = Digest.of(blob)
    with content.writer(layer_ref(digest)) as writer:
        writer.write(blob)
        writer.commit(len(blob), digest)
    return Layer(0, 1, Descriptor(media_type, digest, len(blob)), diff_id, diff_id)


def a_layer(content: LocalStore, tar: bytes, compression: str = "gzip", algorithm: str = "sha256") -> Layer:
    return stored(content, compress(tar, compression), layer_type(compression), Digest.of(tar, algorithm))


def is_clean(content: LocalStore, layer: Layer) -> bool:
    """Whether nothing was left of a layer but its blob."""
    return [info.digest for info in content.walk()] == [layer.descriptor.digest] and list(content.statuses()) == []


@pytest.mark.parametrize(("compression", "algorithm"), list(product(COMPRESSIONS, ("sha256", "sha512"))))
def test_a_layer_becomes_its_uncompressed_tar(content: LocalStore, compression: str, algorithm: str) -> None:
    layer = a_layer(content, TAR, compression, algorithm)

    applied = apply(content, layer, scans=Scans(content, LIMITS))

    assert applied == Applied(layer.diff_id, len(TAR), 3)
    with content.open(layer.diff_id) as file:
        assert hashlib.file_digest(file, layer.diff_id.algorithm).hexdigest() == layer.diff_id.encoded
    assert list(content.statuses()) == []


@pytest.mark.parametrize("docker", [False, True])
def test_docker_layers_are_applied_too(content: LocalStore, docker: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    layer = stored(content, compress(TAR, "gzip"), layer_type("gzip", docker=docker), Digest.of(TAR))

    assert apply(content, layer, scans=Scans(content, LIMITS)).entries == 3


def test_a_plain_layer_is_its_own_diff_blob(content: LocalStore) -> None:
    layer = a_layer(content, TAR, "none")

    assert apply(content, layer, scans=Scans(content, LIMITS)).size == len(TAR)
    assert len(list(content.walk())) == 1


def test_applying_again_gives_the_same_and_needs_no_blob(content: LocalStore) -> None:
    layer = a_layer(content, TAR)
    first = apply(content, layer, scans=Scans(content, LIMITS))
    content.delete(layer.descriptor.digest)

    assert apply(content, layer, scans=Scans(content, LIMITS)) == first


def test_a_blob_that_is_not_to_be_kept_goes_unless_it_is_the_diff_blob(content: LocalStore) -> None:
    for compression in COMPRESSIONS:
        layer = a_layer(content, TAR, compression)

        for _ in range(2):
            applied = apply(content, layer, scans=Scans(content, LIMITS), keep_blob=False)

        assert applied.size == len(TAR)
        assert [blob.digest for blob in content.walk()] == [layer.diff_id]


def test_progress_tells_all_bytes_of_the_blob_once(content: LocalStore) -> None:
    behind = {"gzip": bytes(700_000), "zstd": b"\x50\x2a\x4d\x18" + (9).to_bytes(4, "little") + b"skippable"}
    for compression, rest in behind.items():
        tar = TAR + compression.encode()
        layer = stored(content, compress(tar, compression) + rest, layer_type(compression), Digest.of(tar))
        moved: list[int] = []

        apply(content, layer, scans=Scans(content, LIMITS), progress=moved.append)

        assert sum(moved) == layer.descriptor.size
        assert len(moved) > 1
        assert min(moved) > 0


def test_scanning_a_diff_blob_gives_its_entries(content: LocalStore) -> None:
    layer = a_layer(content, TAR)
    apply(content, layer, scans=Scans(content, LIMITS))

    assert Scans(content).get(layer.diff_id, 0).entries == len(scanned(TAR))


def test_attributes_that_were_dropped_are_told(content: LocalStore) -> None:
    tar = Tar().directory("d", xattrs={"trusted.overlay.opaque": "y"}).to_bytes()

    assert apply(content, a_layer(content, tar), scans=Scans(content, LIMITS)).dropped == (
        ("trusted.overlay.opaque", 1),
    )


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    "tar", [b"", bytes(1024), Tar().file("a").to_bytes(end=0), Tar().file("a").to_bytes() + b"junk"]
)
def test_odd_but_complete_layers_are_applied(content: LocalStore, compression: str, tar: bytes) -> None:
    layer = a_layer(content, tar, compression)

    assert apply(content, layer, scans=Scans(content, LIMITS)).size == len(tar)


# Refusals

HOSTILE = {
    "climbs": Tar().file("../x"),
    "replaces the root": Tar().symlink(".", "/"),
    "hides with a device": Tar().char("a", 0, 0),
    "is below a file": Tar().file("f").file("f/c"),
    "whites out dots": Tar().file(".wh..."),
    "has a wrong checksum": Tar().file("a", checksum=b"000000\0 "),
    "has another size in its records": Tar().file("a", b"x" * 600, pax={"size": "abc"}),
    "is no tar": Tar().raw(b"#!/bin/sh\n" * 200),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("case", HOSTILE)
def test_a_layer_that_makes_no_sense_leaves_nothing(content: LocalStore, case: str, compression: str) -> None:
    layer = a_layer(content, Tar().file("before", b"x" * 2000).to_bytes(end=0) + HOSTILE[case].to_bytes(), compression)

    with pytest.raises(InvalidError):
        apply(content, layer, scans=Scans(content, LIMITS))
    assert is_clean(content, layer)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("rest", [b"", b"payload behind the end of the archive"])
def test_a_layer_with_another_diff_id_leaves_nothing(content: LocalStore, compression: str, rest: bytes) -> None:
    blob = compress(TAR + rest, compression)
    layer = stored(content, blob, layer_type(compression), Digest.of(TAR if rest else b""))

    with pytest.raises(MismatchError, match=f"layer 1 of 1, {layer.descriptor.digest}.*{layer.diff_id}"):
        apply(content, layer, scans=Scans(content, LIMITS))
    assert is_clean(content, layer)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_tar_is_no_compressed_layer_though_its_digest_is_the_diff_id(content: LocalStore, compression: str) -> None:
    layer = stored(content, TAR, layer_type(compression), Digest.of(TAR))

    with pytest.raises(InvalidError, match=f"says compression {compression}, its diff ID that it is not compressed"):
        apply(content, layer, scans=Scans(content, LIMITS))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_cut_or_damaged_blob_leaves_nothing(content: LocalStore, compression: str) -> None:
    whole = compress(TAR, compression)
    damaged = whole[:1000] + bytes(byte ^ 0xFF for byte in whole[1000:1100]) + whole[1100:]
    for blob in (whole[:-1], whole[: len(whole) // 2], whole + b"junk", damaged):
        layer = stored(content, blob, layer_type(compression), Digest.of(TAR))

        with pytest.raises((InvalidError, MismatchError)):
            apply(content, layer, scans=Scans(content, LIMITS))
        assert is_clean(content, layer)
        content.delete(layer.descriptor.digest)


@pytest.mark.parametrize(("said", "found"), [pair for pair in product(COMPRESSIONS, repeat=2) if pair[0] != pair[1]])
def test_a_blob_that_is_compressed_in_another_way_leaves_nothing(content: LocalStore, said: str, found: str) -> None:
    layer = stored(content, compress(TAR, found), layer_type(said), Digest.of(TAR))
    if found == "none":
        layer = stored(content, TAR, layer_type(said), Digest.of(b"other"))

    with pytest.raises(InvalidError, match=f"compression {said}"):
        apply(content, layer, scans=Scans(content, LIMITS))
    assert is_clean(content, layer)


@pytest.mark.parametrize(
    ("limits", "setting"),
    [
        (Limits(max_layer_bytes=1_000_000), "max_layer_bytes"),
        (Limits(max_entries=2), "max_layer_entries"),
    ],
)
def test_a_layer_beyond_a_limit_leaves_nothing(content: LocalStore, limits: Limits, setting: str) -> None:
    layer = a_layer(content, TAR)

    with pytest.raises(ExhaustedError, match=f"raise {setting}"):
        apply(content, layer, scans=Scans(content, limits))
    assert is_clean(content, layer)


def test_a_bomb_leaves_nothing(content: LocalStore) -> None:
    layer = a_layer(content, Tar().file("zeros", bytes(100_000_000)).to_bytes(), "zstd")

    with pytest.raises(ExhaustedError, match="max_layer_ratio"):
        apply(content, layer, scans=Scans(content, LIMITS))
    assert is_clean(content, layer)


def test_a_sparse_bomb_leaves_nothing(content: LocalStore) -> None:
    said = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": str(2**40)}
    layer = a_layer(content, Tar().file("s", b"1\n0\n0\n".ljust(512, b"\0"), pax=said).to_bytes())

    with pytest.raises(ExhaustedError, match="holes included"):
        apply(content, layer, scans=Scans(content, LIMITS))
    assert is_clean(content, layer)


def test_a_layer_that_was_not_fetched_is_not_found(content: LocalStore) -> None:
    descriptor = Descriptor(layer_type("gzip"), Digest.of(b"elsewhere"), 9)

    with pytest.raises(NotFoundError):
        apply(content, Layer(0, 1, descriptor, Digest.of(TAR), Digest.of(TAR)), scans=Scans(content, LIMITS))
    with pytest.raises(NotFoundError):
        Scans(content).get(Digest.of(TAR), 0)


def test_a_layer_of_an_unknown_type_is_not_supported(content: LocalStore) -> None:
    layer = stored(content, TAR, "application/vnd.oci.image.layer.v1.tar+encrypted", Digest.of(TAR))

    with pytest.raises(UnsupportedError):
        apply(content, layer, scans=Scans(content, LIMITS))


def test_a_diff_blob_that_is_no_tar_is_refused_even_if_it_is_there(content: LocalStore) -> None:
    layer = a_layer(content, b"not a tar" * 100, "none")

    with pytest.raises(InvalidError):
        apply(content, layer, scans=Scans(content, LIMITS))


# Other processes, and crashes


def test_what_a_crash_left_is_not_taken_for_a_beginning(content: LocalStore) -> None:
    layer = a_layer(content, TAR)
    with content.writer(diff_ref(layer.diff_id)) as writer:
        writer.write(b"left by somebody" * 100_000)

    assert apply(content, layer, scans=Scans(content, LIMITS)).size == len(TAR)


@pytest.mark.parametrize("good", [True, False])
def test_what_was_decompressed_while_we_waited_is_taken_if_it_is_right(tmp_path: Path, good: bool) -> None:  # noqa: FBT001
    class Waiting(LocalStore):
        """A store in which another one seals the ingest just before we have it."""

        def writer(self, ref: str, **options: Any) -> LocalWriter:
            if ref == diff_ref(Digest.of(TAR)) and self.status(ref) is None:
                with super().writer(ref, **options) as other:
                    other.write(TAR if good else b"nonsense")
                    other.seal()
            return super().writer(ref, **options)

    content = Waiting(tmp_path / "content", tmp_path / "ingest", lock_timeout=0.2)
    layer, consumed = a_layer(content, TAR), list[int]()

    applied = apply(content, layer, scans=Scans(content, LIMITS), progress=consumed.append)

    assert applied == Applied(layer.diff_id, len(TAR), 3)
    assert (consumed == []) == good
    assert list(content.statuses()) == []


def test_two_at_once_both_succeed(content: LocalStore) -> None:
    layer = a_layer(content, TAR)
    patient = LocalStore(content.root, content.ingests)
    together = threading.Barrier(2)

    def one() -> Applied:
        together.wait()
        return apply(patient, layer, scans=Scans(patient, LIMITS))

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.submit(one), threads.submit(one)
        assert first.result() == second.result() == Applied(layer.diff_id, len(TAR), 3)


def test_a_layer_that_another_process_applies_is_not_available(content: LocalStore) -> None:
    layer = a_layer(content, TAR)

    with content.writer(diff_ref(layer.diff_id)), pytest.raises(UnavailableError):
        apply(content, layer, scans=Scans(content, LIMITS))


KILLED = """
import os, signal, sys
from pathlib import Path
from prestow.content.local import LocalStore
from prestow.content.writer import LocalWriter
from prestow.digest import Digest
from prestow.layers.apply import apply
from prestow.layers.scans import Scans
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Layer

folder, digest, size, diff_id, media_type = sys.argv[1:]
content = LocalStore(Path(folder, "content"), Path(folder, "ingest"))
layer = Layer(0, 1, Descriptor(media_type, Digest(digest), int(size)), Digest(diff_id), Digest(diff_id))
apply(content, layer, scans=Scans(content), progress=lambda count: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_apply_leaves_no_diff_blob_and_the_next_one_succeeds(content: LocalStore, tmp_path: Path) -> None:
    layer = a_layer(content, TAR)
    told = [str(tmp_path), layer.descriptor.digest, str(layer.descriptor.size), layer.diff_id]

    killed = subprocess.run([sys.executable, "-c", KILLED, *told, layer.descriptor.media_type], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert not content.has(layer.diff_id)
    assert [status.ref for status in content.statuses()] == [diff_ref(layer.diff_id)]
    assert apply(content, layer, scans=Scans(content, LIMITS)).size == len(TAR)
