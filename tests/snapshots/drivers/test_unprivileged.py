"""The native driver without root."""

import os
from pathlib import Path

import pytest

from prestow.snapshots.drivers.native import NativeSnapshotter
from tests.conformance.bench import Bench
from tests.snapshots.unprivileged import as_nobody, home_of_nobody
from tests.tar_builder import Tar

TARS = (
    Tar().file("etc/shadow", b"secret", mode=0o000, uid=7).directory("closed", mode=0o000).file("closed/file", b"f"),
    Tar().hardlink("again", "etc/shadow").char("null", 1, 3).file("open", b"o"),
)


def check(home: Path) -> None:
    with Bench(home / "store", NativeSnapshotter) as bench:
        image = bench.committed(*TARS)
        (mount,) = bench.snapshotter.prepare("key", image.chain_id)
        folder = Path(mount.source)
        assert list(bench.snapshotter.verify(image.chain_id)) == []

        assert (folder / "open").read_bytes() == b"o"
        assert (folder / "etc" / "shadow").stat().st_mode & 0o7777 == 0
        assert (folder / "again").samefile(folder / "etc" / "shadow")
        assert not (folder / "null").exists()
        (folder / "written").write_bytes(b"w")
        bench.snapshotter.commit("name", "key")
        bench.snapshotter.remove("name")
        for layer in reversed(image.layers):
            bench.snapshotter.remove(layer.chain_id)
        assert bench.left_on_disk() == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_ordinary_user_unpacks_writes_commits_and_removes() -> None:
    with home_of_nobody() as home:
        as_nobody(lambda: check(home))
