"""Explain: it tells every reason why something is kept, and never another thing than what prune then does."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.errors import InvalidError, NotFoundError
from prestow.gc.explain import Explanation, explain
from prestow.gc.prune import Choice, prune
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.tag import tag, untag
from prestow.oci.image import Image
from prestow.snapshots.mounts.mount import mount_all, unmount
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.store.node import Node, open_node
from tests.pulling import NAME, pulled_demo


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A store; what a test leaves in it is removed with its mounts."""
    node = open_node(str(tmp_path / "store"))
    yield node
    for record in node.containers.list():
        node.containers.remove(record.id)
    with node.database.transaction() as cursor:
        cursor.execute("UPDATE snapshots SET created_at = 0")
        cursor.execute("DELETE FROM images")
        cursor.execute("DELETE FROM leases")
    assert prune(node).left == ()
    assert mounts_below(tmp_path) == ()


@pytest.fixture
def image(node: Node, demo_layout: Path) -> Image:
    return pulled_demo(node, demo_layout, drivers=("erofs",))


def one(node: Node, text: str) -> Explanation:
    (found,) = explain(node, text)
    return found


def put(node: Node, data: bytes) -> Digest:
    digest = Digest.of(data)
    with node.content.writer("put") as writer:
        writer.write(data)
        writer.commit(len(data), digest)
    return digest


def ways(found: Explanation) -> list[list[str]]:
    return [[link.kind for link in reason.way] for reason in found.reasons]


def everything(node: Node) -> Iterator[str]:
    """Yield all names by which something in the store is called."""
    yield from (record.name for record in node.images.every())
    yield from (info.digest for info in node.content.walk())
    yield from (f"{info.driver}/{info.key}" for info in node.snapshots())
    yield from (status.ref for status in node.content.statuses())


def test_a_diff_blob_is_kept_by_its_name_and_by_a_container(node: Node, image: Image) -> None:
    erofs = next(driver for driver in node.snapshotters if driver.driver == "erofs")
    erofs.prepare("box", image.chain_id)
    node.containers.put(ContainerRecord("default", "box", NAME, image.manifest.digest, "erofs", "box", "/b", 1.0))

    found = one(node, image.layers[1].diff_id)

    assert (found.kind, found.kept, found.removal) == ("diff blob", True, "")
    assert found.bytes == node.content.info(image.layers[1].diff_id).size
    assert {reason.why.partition(";")[0] for reason in found.reasons} >= {f"image {NAME}", "container box"}
    assert ["image", "index", "manifest", "config", "diff blob"] in ways(found)
    untag(node.database, node.content, NAME)
    both = explain(node, "box")
    assert [(found.kind, found.reasons[0].why) for found in both] == [
        ("container", "container box"),
        ("snapshot", "container box"),
    ]
    below = one(node, f"erofs/{image.layers[1].chain_id}")
    held = next(reason for reason in below.reasons if reason.why == "container box")
    assert (held.way[0].name, held.way[-1].name) == ("box", f"erofs/{image.layers[1].chain_id}")


def test_a_lease_is_told_with_its_owner_and_how_long_it_lasts(node: Node, image: Image) -> None:
    untag(node.database, node.content, NAME)
    with node.lease("fsck something") as lease:
        node.protect(lease, image)
        found = one(node, image.layers[0].descriptor.digest)
        assert f"lease {lease} of fsck something, process {os.getpid()} works" in {r.why for r in found.reasons}

    left = node.leases.create("pull something", 3 * 3600)
    node.leases.add(left.id, "content", [image.target.digest])
    node.leases.leave(left.id, 3 * 3600)
    found = one(node, image.layers[0].descriptor.digest)
    assert [reason.why for reason in found.reasons] == [f"lease {left.id} of pull something, 3 hours left"]
    assert ways(found) == [["lease", "index", "manifest", "layer"]]


def test_an_image_whose_pull_was_broken_off_is_told_by_the_lease_of_that_pull(node: Node) -> None:
    lease = node.leases.create("pull docker.io/library/big:latest", 3 * 3600)
    node.leases.leave(lease.id, 3 * 3600)
    elsewhere = open_node(str(node.home), "team")

    found = one(node, "big")

    assert (found.kind, found.name, found.kept, found.bytes) == ("lease", lease.id, True, None)
    assert found.reasons[0].why == f"lease {lease.id} of pull docker.io/library/big:latest, 3 hours left"
    assert one(node, lease.id) == one(elsewhere, lease.id) == found
    with pytest.raises(NotFoundError):
        explain(elsewhere, "big")


def test_what_a_name_stood_for_before_is_told(node: Node, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    tag(node.database, node.content, NAME, image.manifest)

    assert one(node, f"{NAME} {image.target.digest}").removal == "replaced, and 0 earlier generations are kept"
    monkeypatch.setenv("PRESTOW_KEEP_GENERATIONS", "1")
    fresh = Node(node.home, node.store_id)
    assert ways(one(fresh, image.target.digest)) == [["generation", "index"]]
    assert one(fresh, f"{NAME} {image.target.digest}").kept


def test_each_namespace_has_its_own_names_and_sees_who_else_keeps_a_blob(node: Node, image: Image) -> None:
    tag(node.database, node.content, "localhost/theirs:1", image.target, namespace="team")
    theirs = open_node(str(node.home), "team")

    assert one(theirs, "theirs:1").name == "localhost/theirs:1 (namespace team)"
    for missing in (NAME, "demo"):
        with pytest.raises(NotFoundError):
            explain(theirs, missing)
    why = {reason.why for reason in one(theirs, image.config.digest).reasons}
    assert why == {f"image {NAME}", "image localhost/theirs:1 (namespace team)"}


def test_what_nothing_keeps_is_said_to_go_and_goes(node: Node, image: Image) -> None:
    untag(node.database, node.content, NAME)

    told = {text: explain(node, text) for text in everything(node)}
    swept = prune(node)

    assert {found.name for explanations in told.values() for found in explanations} == {r.name for r in swept.removed}
    assert not any(found.kept or found.reasons for explanations in told.values() for found in explanations)
    with pytest.raises(NotFoundError, match="of this store"):
        explain(node, image.target.digest)


def test_it_agrees_with_prune_about_everything(node: Node, image: Image, demo_layout: Path) -> None:
    other = pulled_demo(node, demo_layout, "arm64", drivers=("native",))
    tag(node.database, node.content, "localhost/other:1", other.manifest)
    untag(node.database, node.content, NAME)
    with node.content.writer("layer-young") as writer:
        writer.write(b"x")

    kept = {found.name: found.kept for text in everything(node) for found in explain(node, text)}
    prune(node)

    left = {found.name for text in everything(node) for found in explain(node, text)}
    assert left == {name for name, stays in kept.items() if stays}
    assert set(kept.values()) == {True, False}


def test_a_name_that_a_rule_would_forget_is_told_with_the_rule(
    node: Node, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    with node.database.transaction() as cursor:
        cursor.execute("UPDATE images SET updated_at = ?", (time.time() - 40 * 86400,))
    monkeypatch.setenv("PRESTOW_UNUSED_DAYS", "30")
    fresh = Node(node.home, node.store_id)

    assert one(fresh, "demo").removal == "unused for 40 days, more than 30 days"
    assert one(fresh, image.config.digest).removal.startswith(f"only image {NAME} leads to it, which goes: unused for")
    assert prune(fresh, Choice(unused_days=50)).removed == ()
    fresh.images.label(NAME, {"prestow.keep": "true"})
    assert one(fresh, "demo").reasons[0].why == f"image {NAME}; it has the label prestow.keep=true"


def test_a_mounted_snapshot_is_told_by_the_mount(node: Node, image: Image, tmp_path: Path) -> None:
    erofs = next(driver for driver in node.snapshotters if driver.driver == "erofs")
    mounts = erofs.view("look", image.chain_id)
    with node.database.transaction() as cursor:
        cursor.execute("UPDATE snapshots SET created_at = 0 WHERE key = 'look'")
    assert not one(node, "look").kept

    (tmp_path / "at").mkdir()
    mount_all(mounts, tmp_path / "at")
    try:
        assert "is mounted at" in one(node, "look").reasons[0].why
        told = prune(node, dry_run=True)
        assert prune(node).left == told.left
        assert "is mounted at" in told.left[0]
    finally:
        unmount(tmp_path / "at")
    assert "erofs/look" in prune(node).of("snapshot")


def test_a_digest_may_be_shortened_as_long_as_it_is_one(node: Node, image: Image) -> None:
    digest = image.config.digest
    assert one(node, digest[:20]).name == one(node, digest.encoded[:12]).name == digest

    seen: dict[str, Digest] = {}
    for number in range(10_000):  # of so many, two begin with the same four digits
        found = Digest.of(b"%d" % number)
        if (before := seen.setdefault(found.encoded[:4], found)) != found:
            break
    put(node, b"%d" % number)
    assert one(node, found.encoded[:4]).name == found
    put(node, next(b"%d" % n for n in range(number) if Digest.of(b"%d" % n) == before))
    with pytest.raises(InvalidError, match="several digests begin so"):
        explain(node, found.encoded[:4])
    with pytest.raises(NotFoundError):
        explain(node, "abc")


def test_damage_that_stops_prune_is_the_reason_for_everything(node: Node, image: Image) -> None:
    garbage = put(node, b"garbage")
    node.content.delete(image.config.digest)

    assert one(node, garbage).reasons[0].why.startswith("prune removes nothing while this is so: image")
