"""Unpacking ends soon after somebody cancels it, wherever it is, and the same again succeeds."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.cancellation import watched
from prestow.errors import CancelledError
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.drivers.erofs import ErofsSnapshotter
from prestow.snapshots.drivers.native import NativeSnapshotter
from prestow.snapshots.drivers.overlay import OverlaySnapshotter
from prestow.snapshots.tree_copy import copy_tree
from tests.cancel_at import CancelAt
from tests.conformance.bench import Bench
from tests.tar_builder import Tar

FILES = 200
LOOKS = 50


def many(prefix: str) -> Tar:
    tar = Tar()
    for number in range(FILES):
        tar.file(f"{prefix}{number}", prefix.encode())
    return tar


@pytest.mark.parametrize(
    ("kind", "looks"), [(ErofsSnapshotter, 2), (OverlaySnapshotter, LOOKS), (NativeSnapshotter, LOOKS)]
)
def test_unpacking_ends_and_what_it_began_goes_with_the_next(
    mounting: Path, kind: Callable[..., Driver], looks: int
) -> None:
    with Bench(mounting / "store", kind) as bench:
        image = bench.image(many("a"), many("b"))
        before = bench.left_on_disk()

        with watched(CancelAt(looks)), pytest.raises(CancelledError, match=r"^enough$"):
            bench.snapshotter.commit_layers(image)

        assert not bench.snapshotter.committed(image.chain_id)
        bench.snapshotter.cleanup()
        assert bench.left_on_disk() == before
        bench.snapshotter.commit_layers(image)
        assert bench.unlike(bench.snapshotter.view("view", image.chain_id), many("a"), many("b")) == []


def test_unpacking_is_left_in_the_middle_of_its_files(mounting: Path) -> None:
    with Bench(mounting / "store", NativeSnapshotter) as bench:
        with watched(CancelAt(LOOKS)), pytest.raises(CancelledError):
            bench.snapshotter.commit_layers(bench.image(many("a")))

        made = [name for _, _, names in os.walk(bench.folder) for name in names if name.startswith("a")]
        assert 0 < len(made) < FILES


def test_copying_a_tree_ends(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        folder.mkdir()
    for number in range(FILES):
        (source / str(number)).touch()

    with watched(CancelAt(LOOKS)), pytest.raises(CancelledError, match=r"^enough$"):
        copy_tree(source, target)

    assert 0 < len(list(target.iterdir())) < FILES
