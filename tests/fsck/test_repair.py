"""Repair: whatever happens to what is stored of an image is made right, the name stays, and no more is fetched."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.fsck.image import fsck_image
from prestow.fsck.repair import RepairResult, repair_image
from prestow.metadata.images import ImageRecord
from prestow.metadata.labels import SOURCE
from prestow.metadata.tag import tag
from prestow.oci.image import Layer
from prestow.store.node import Node, open_node
from tests.conformance.snapshotter_damage import cut, flip, replaced
from tests.pulling import pulled
from tests.registries import Fault, FaultRegistry

_ANEW = "rebuilt from the layers"

Change = Callable[[Path], object]


def emptied(path: Path) -> None:
    """Take all bytes away."""
    os.truncate(path, 0)


DAMAGE: Mapping[str, Change] = {
    "flipped": flip,
    "cut": cut,
    "emptied": emptied,
    "removed": os.unlink,
    "a folder": replaced(Path.mkdir),
    "a link": replaced(lambda path: path.symlink_to("/etc/shadow")),
    "a pipe": replaced(os.mkfifo),
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with closing(open_node(str(tmp_path / "store"))) as node:
        yield node


def repaired(node: Node, record: ImageRecord) -> RepairResult:
    """Repair as another process would, which remembers nothing, and make sure that all is well then, and named."""
    with closing(Node(node.home, node.store_id)) as fresh:
        done = repair_image(fresh, record)
    again = Node(node.home, node.store_id)
    assert (done.left, fsck_image(again, again.images.get(record.name)).damaged) == ((), ())
    assert again.images.get(record.name) == record
    return done


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_any_damage_to_any_blob_is_repaired_and_nothing_else_is_fetched(
    node: Node, fault_registry: FaultRegistry, change: Change
) -> None:
    record, image = pulled(node, f"{fault_registry.domain}/app:demo")
    layer = image.layers[1]
    fetched = [image.target, image.manifest, image.config, layer.descriptor]
    for digest, expected in [*((part.digest, [part.digest]) for part in fetched), (layer.diff_id, [])]:
        path = node.content.path(digest)
        if change is os.unlink and digest in (image.manifest.digest, layer.descriptor.digest):
            continue  # of a platform that is not here, and of a layer that is applied, they are not missed
        change(path)
        fault_registry.seen.clear()

        done = repaired(node, record)

        assert [request.path.rpartition("/")[2] for request in fault_registry.seen] == expected
        assert digest in {mended.damage.name for mended in done.mended if mended.how}
        held = [] if change is os.unlink else [str(path)]
        assert [each.path for each in node.content.quarantine_area.list() if each.path.endswith(digest.encoded)] == held


def test_all_blobs_at_once_are_repaired(node: Node, fault_registry: FaultRegistry) -> None:
    record, _ = pulled(node, f"{fault_registry.domain}/app:demo")
    blobs = [node.content.path(blob.digest) for blob in node.content.walk()]
    for path in blobs:
        flip(path)

    done = repaired(node, record)

    assert len(node.content.quarantine_area.list()) == len(blobs) == 9
    assert {mended.how for mended in done.mended} == {
        "fetched again",
        "decompressed again",
        _ANEW,
    }


def test_a_missing_manifest_of_this_host_is_fetched_again(node: Node, fault_registry: FaultRegistry) -> None:
    record, image = pulled(node, f"{fault_registry.domain}/app:demo")
    node.content.path(image.manifest.digest).unlink()

    done = repaired(node, record)

    assert [mended.how for mended in done.mended] == ["the manifest for this host was fetched again"]


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_damaged_snapshots_are_made_again_without_asking_anybody(
    node: Node, fault_registry: FaultRegistry, change: Change
) -> None:
    record, image = pulled(node, f"{fault_registry.domain}/app:demo")
    victims = [node.home / "snapshots/erofs" / f"{image.chain_id.encoded}.erofs"]
    for driver in ("overlay", "native"):
        number = node.snapshotter(driver).stat(image.chain_id).id
        victims.append(node.home / "snapshots" / driver / str(number) / "fs/bin/hello")
    for victim in victims:
        if victim.exists():
            change(victim)
    fault_registry.seen.clear()

    done = repaired(node, record)

    assert fault_registry.seen == []
    assert {mended.how for mended in done.mended} == {_ANEW}
    assert {mended.damage.name for mended in done.mended} >= {str(victims[0]), str(victims[2])}


def test_what_has_no_source_any_more_is_told_with_the_reason_and_the_name_stays(
    node: Node, fault_registry: FaultRegistry
) -> None:
    record, image = pulled(node, f"{fault_registry.domain}/app:demo")
    lost, sound = image.layers[0], image.layers[1]
    for digest in (lost.descriptor.digest, lost.diff_id, sound.diff_id):
        flip(node.content.path(digest))
    fault_registry.on(lost.descriptor.digest, Fault(status=404))

    done = repair_image(node, record)

    told = {mended.damage.name: mended for mended in done.mended}
    assert told[sound.diff_id].how == "decompressed again"
    assert "404" in told[lost.diff_id].why_not
    assert {damage.name for damage in done.left} >= {lost.diff_id, lost.descriptor.digest}
    assert node.images.get(record.name) == record


def test_an_image_under_another_name_is_repaired_from_where_it_was_pulled(
    node: Node, fault_registry: FaultRegistry
) -> None:
    record, image = pulled(node, f"{fault_registry.domain}/app:demo", "registry.invalid/mine:1")
    flip(node.content.path(image.config.digest))
    fault_registry.seen.clear()

    repaired(node, record)

    assert [request.path for request in fault_registry.seen] == [f"/v2/app/blobs/{image.config.digest}"]


def test_any_name_of_an_image_tells_where_it_comes_from(node: Node, fault_registry: FaultRegistry) -> None:
    record, image = pulled(node, f"{fault_registry.domain}/app:demo")
    alias = tag(node.database, node.content, "localhost/alias:1", record.target, namespace="ci")
    flip(node.content.path(image.config.digest))

    done = repair_image(node, alias)

    assert [mended.how for mended in done.mended if mended.damage.name == image.config.digest] == ["fetched again"]


def test_an_image_from_a_layout_is_repaired_from_it_as_long_as_it_is_there(
    node: Node, demo_layout: Path, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    shutil.copytree(demo_layout, layout)
    record, image = pulled(node, f"oci:{layout}:demo", "localhost/demo:latest")
    layer = image.layers[0]
    _flip_both(node, layer)
    repaired(node, record)
    assert Digest.of(node.content.path(layer.diff_id).read_bytes()) == layer.diff_id

    shutil.rmtree(layout)
    _flip_both(node, layer)
    told = repair_image(node, record).mended[0].why_not
    assert f"cannot be re-fetched: not from oci:{layout}:demo: " in told
    assert told.endswith("; pull it again with --name localhost/demo:latest")

    unsourced = node.images.label(record.name, {SOURCE: None})
    assert "its source is not recorded" in repair_image(node, unsourced).mended[0].why_not


def _flip_both(node: Node, layer: Layer) -> None:
    for digest in (layer.descriptor.digest, layer.diff_id):
        if node.content.has(digest):
            flip(node.content.path(digest))


def test_without_other_blobs_a_damaged_diff_blob_is_fetched_and_the_blob_goes_again(
    node: Node, fault_registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_KEEP_BLOBS", "false")
    record, image = pulled(node, f"{fault_registry.domain}/app:demo")
    for layer in image.layers[:2]:
        node.content.delete(layer.descriptor.digest)
    flip(node.content.path(image.layers[0].diff_id))
    flip(node.content.path(image.layers[2].descriptor.digest))
    fault_registry.seen.clear()

    repaired(node, record)

    asked = [request.path.rpartition("/")[2] for request in fault_registry.seen]
    assert asked == [image.layers[0].descriptor.digest]
    assert [node.content.has(layer.descriptor.digest) for layer in image.layers] == [False] * 3


def test_what_is_in_quarantine_says_when_and_why(node: Node, fault_registry: FaultRegistry) -> None:
    record, image = pulled(node, f"{fault_registry.domain}/app:demo")
    path = node.content.path(image.layers[0].diff_id)
    flip(path)
    damaged = path.read_bytes()

    repaired(node, record)

    (held,) = node.content.quarantine_area.list()
    assert (held.path, held.why) == (str(path), "its bytes are no longer those of its digest")
    assert (held.folder / path.name).read_bytes() == damaged
    assert node.content.quarantine_area.old(3600) == ()
    shutil.rmtree(held.folder)
    assert node.content.quarantine_area.list() == ()
