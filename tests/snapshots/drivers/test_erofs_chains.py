"""Metadata images of all chain IDs of an image, as a runtime needs them that gets links to each."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings

from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.layers.scans import Scans
from prestow.layers.tree import LayerTree
from prestow.snapshots.drivers.erofs import ErofsSnapshotter
from tests.conformance.bench import Bench
from tests.snapshots.random_layers import random_layers
from tests.tar_builder import Tar


def made(bench: Bench, chain_ids: list[Digest]) -> list[tuple[str, bytes]]:
    """Have the files of chain IDs made, and return those that are not diff blobs, with their bytes."""
    assert isinstance(bench.snapshotter, ErofsSnapshotter)
    found = bench.snapshotter.image_files(chain_ids)
    assert [len(files) > 1 for files in found] == [True] * len(chain_ids)
    own = [path for files in found for path in files if path.parent == bench.folder]
    return [(path.name, path.read_bytes()) for path in own]


@settings(deadline=None, max_examples=15)
@given(random_layers())
def test_images_made_in_one_pass_have_the_bytes_of_those_made_one_by_one(tars: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        homes = Path(folder, "together"), Path(folder, "alone")
        with (
            Bench(homes[0], ErofsSnapshotter, durable=False) as together,
            Bench(homes[1], ErofsSnapshotter, durable=False) as alone,
        ):
            chain_ids = [layer.chain_id for layer in together.committed(*tars).layers]
            alone.committed(*tars)

            assert made(together, chain_ids) == [file for each in chain_ids for file in made(alone, [each])]


@pytest.mark.parametrize("first", [0, 7], ids=["all", "the upper ones"])
def test_each_layer_is_read_and_merged_once(tmp_path: Path, first: int) -> None:
    read: list[int] = []

    def kind(root: Path, database: Any, content: LocalStore, **rest: Any) -> ErofsSnapshotter:
        def scan(diff_id: Digest, index: int) -> LayerTree:
            read.append(index)
            return Scans(content).tree(diff_id, index)

        return ErofsSnapshotter(root, database, content, scan=scan, **rest)

    with Bench(tmp_path / "store", kind, durable=False) as bench:
        image = bench.committed(*(Tar().file(f"file{number}") for number in range(20)))
        read.clear()

        made(bench, [layer.chain_id for layer in image.layers[first:]])

        assert read == [*range(19)], "the image of all 20 is there"
