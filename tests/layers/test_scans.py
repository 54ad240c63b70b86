"""Scans: what is remembered of layers, and for how long."""

from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO

import pytest

from prestow.digest import Digest
from prestow.layers.scans import Scans
from tests.tar_builder import Tar

_MOST = "prestow.layers.scans._MOST_INODES"


class Blobs(dict[Digest, bytes]):
    """Tars by their digest.

    Attributes:
        opened: those that were opened, in order.
    """

    def __init__(self, *tars: bytes) -> None:
        super().__init__({Digest.of(tar): tar for tar in tars})
        self.opened: list[Digest] = []

    def open(self, digest: Digest) -> BinaryIO:
        """Open one."""
        self.opened.append(digest)
        return BytesIO(self[digest])


def _tar(add: Callable[[Tar, str], Tar], count: int) -> bytes:
    tar = Tar()
    for number in range(count):
        add(tar, f"d/{number}")
    return tar.to_bytes()


def _symlinks(count: int) -> bytes:
    return _tar(lambda tar, name: tar.symlink(name, "x"), count)


def test_the_latest_scan_is_kept_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_MOST, 10)
    blobs = Blobs(_symlinks(20))
    scans = Scans(blobs)

    for digest in [*blobs] * 3:
        assert scans.get(digest, 0).entries == 20

    assert blobs.opened == [*blobs]


def test_older_scans_go_when_all_are_too_many_inodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_MOST, 30)
    first, second, third = blobs = Blobs(_symlinks(14), _symlinks(13), _symlinks(12))
    scans = Scans(blobs)

    for digest in (first, second, second, third, second, first):
        scans.tree(digest, 0)

    assert blobs.opened == [first, second, third, first]


def test_packed_files_count_less_than_inodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prestow.layers.tree.build.MANY_NODES", 0)
    files, symlinks = blobs = Blobs(_tar(Tar.file, 20), _symlinks(20))

    assert [Scans(blobs).get(digest, 0).inodes for digest in (files, symlinks)] == [1 + 19 // 5, 21]
