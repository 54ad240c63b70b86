"""Verify: what happened to an image's blobs and snapshots is told, and nothing else is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.fsck.image import CheckResult, fsck_image
from prestow.store.node import Node, open_node
from tests.conformance.snapshotter_damage import flip
from tests.pulling import NAME, pulled_demo


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return open_node(str(tmp_path / "store"))


def verified(node: Node) -> CheckResult:
    """Verify as another process would, which remembers nothing."""
    fresh = Node(node.home, node.store_id)
    return fsck_image(fresh, fresh.images.get(NAME))


def damages(node: Node) -> set[tuple[str, str]]:
    """Return the kinds and names of what is damaged."""
    return {(damage.kind, damage.name) for damage in verified(node).damaged}


def test_an_image_that_nobody_touched_is_well_and_all_of_it_was_read(node: Node, demo_layout: Path) -> None:
    pulled_demo(node, demo_layout)
    read: list[int] = []

    found = fsck_image(node, node.images.get(NAME), progress=read.append)

    assert found.damaged == ()
    assert (found.blobs, found.snapshots, found.bytes) == (3 + 3 + 3, 3, sum(read))
    assert found.bytes > sum(blob.size for blob in node.content.walk())
    assert node.leases.list() == ()


def test_platforms_that_were_not_pulled_are_not_missed(node: Node, demo_layout: Path) -> None:
    pulled_demo(node, demo_layout)
    pulled_demo(node, demo_layout, "arm64", drivers=())  # its documents alone

    assert verified(node).damaged == ()

    pulled_demo(node, demo_layout, "arm64")
    assert verified(node).snapshots == 6


def _cut(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("change", [flip, _cut, os.unlink])
def test_every_blob_is_looked_at(node: Node, demo_layout: Path, change: Callable[[Path], None]) -> None:
    image = pulled_demo(node, demo_layout, drivers=("native",))
    documents = [image.target, image.manifest, image.config]
    kinds = {part.digest: "document" for part in documents} | {layer.diff_id: "diff blob" for layer in image.layers}
    if change is not os.unlink:  # what is applied needs no other blob
        kinds |= {layer.descriptor.digest: "layer" for layer in image.layers}
    for digest, kind in kinds.items():
        path = node.content.path(digest)
        saved = path.read_bytes()
        change(path)

        found = damages(node)

        expected = (kind, digest)
        if digest == image.manifest.digest and change is os.unlink:
            expected = ("document", image.target.digest)  # which lists nothing that is here
        assert expected in found
        assert found - {expected} <= {("snapshot", f"native {image.chain_id}")}
        assert (len(found) == 2) == (kind == "diff blob")
        path.unlink(missing_ok=True)
        path.write_bytes(saved)
    assert damages(node) == set()


def test_damaged_folders_and_metadata_images_are_told_with_their_paths(node: Node, demo_layout: Path) -> None:
    image = pulled_demo(node, demo_layout)
    metadata = node.home / "snapshots/erofs" / f"{image.chain_id.encoded}.erofs"
    motd = node.home / "snapshots/native" / str(node.snapshotter("native").stat(image.chain_id).id) / "fs/etc/motd"
    flip(metadata)
    flip(motd)

    assert damages(node) == {("metadata image", str(metadata)), ("file", str(motd))}


def test_a_snapshot_whose_files_are_gone_is_told(node: Node, demo_layout: Path) -> None:
    image = pulled_demo(node, demo_layout, drivers=("native",))
    folder = node.home / "snapshots/native" / str(node.snapshotter("native").stat(image.chain_id).id)
    folder.rename(node.home / "elsewhere")

    assert damages(node) == {("file", str(folder / "fs"))}


def test_something_else_in_the_place_of_a_blob_is_told(node: Node, demo_layout: Path) -> None:
    image = pulled_demo(node, demo_layout, drivers=("native",))
    path = node.content.path(Digest(image.layers[0].diff_id))
    path.unlink()
    os.mkfifo(path)

    assert ("diff blob", image.layers[0].diff_id) in damages(node)
