"""Admission: what will not fit is refused before it is begun, also for what others have begun."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prestow.containers.create import write_copy
from prestow.content.process_identity import Process
from prestow.content.verify import verify as commit
from prestow.errors import ExhaustedError
from prestow.layers.apply import apply
from prestow.metadata.leases import Leases
from prestow.oci.artifact import Artifact
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image
from prestow.platforms import Platform
from prestow.registry.artifact import fetch_artifact
from prestow.registry.fetch import fetch_layer, fetch_manifest
from prestow.runtime.spec import Spec
from prestow.snapshots.chain import Chain
from prestow.space.admission import admit, admit_copy
from prestow.space.estimate import free_space, needs
from prestow.store.node import Node, open_node
from tests.artifacts import EMPTY, put_artifact
from tests.image_factory import demo_layers, write_image
from tests.pulling import pulled_demo
from tests.tar_builder import Tar

HUGE = str(1 << 60)
LAYER = 1 << 20


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return open_node(str(tmp_path / "store"))


@pytest.fixture
def image(node: Node, demo_layout: Path) -> Image:
    """The demo image, of which only the documents are here."""
    return pulled_demo(node, demo_layout, drivers=())


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small disk, of which nothing has to stay free."""
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", "0")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def again(node: Node) -> Node:
    """Return the store as another process sees it, which reads the settings anew."""
    return Node(node.home, node.store_id)


def admitted(node: Node, image: Image, driver: str = "erofs") -> int:
    """Admit an image under a lease of its own, which stays."""
    return admit(node, node.leases.create("pull it", 60).id, image, driver)


def test_what_does_not_fit_is_refused_with_the_figures_and_what_helps(
    node: Node, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", HUGE)

    with pytest.raises(ExhaustedError) as refused:
        admitted(again(node), image)

    said = str(refused.value)
    assert image.manifest.digest.short in said
    assert str(node.home) in said
    for word in ("fetched", "unpacked", "inodes", "prestow prune", "keep_blobs = false", "--home", "check_space"):
        assert word in said


def _switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_CHECK_SPACE", "false")


def _with_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", "0")


@pytest.mark.parametrize("settings", [_switched_off, _with_room])
def test_what_fits_or_is_not_checked_is_admitted_all_at_once(
    node: Node, image: Image, monkeypatch: pytest.MonkeyPatch, settings: Callable[[pytest.MonkeyPatch], None]
) -> None:
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", HUGE)
    settings(monkeypatch)

    assert admitted(again(node), image, "native") == len(image.layers)


def test_what_is_complete_is_admitted_on_a_full_disk(
    node: Node, demo_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pulled_demo(node, demo_layout, drivers=("native",))
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", HUGE)

    assert admitted(again(node), image, "native") == 1


def unpacked(node: Node, layout: Path, image: Image, ref: str = "demo") -> None:
    """Fetch and unpack an image that was admitted."""
    source = node.source(f"oci:{layout}:{ref}")
    for layer in image.layers:
        fetch_layer(source, node.content, layer, scans=node.scans)
        commit(node.content, layer.descriptor)
        apply(node.content, layer, scans=node.scans)


def test_the_layers_of_an_image_are_limited_together_and_to_the_byte(
    node: Node, image: Image, demo_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(len(tar) for tar in demo_layers("amd64"))
    monkeypatch.setenv("PRESTOW_MAX_IMAGE_BYTES", str(total - 1))
    limited = again(node)
    admitted(limited, image)

    with pytest.raises(ExhaustedError, match=f"more than {total - 1} bytes when decompressed; raise max_image_bytes"):
        unpacked(limited, demo_layout, image)

    assert sum(node.content.info(layer.diff_id).size for layer in image.layers[:-1]) < total
    assert not node.content.has(image.layers[-1].diff_id)
    later = again(node)
    admitted(later, image)
    with pytest.raises(ExhaustedError, match="max_image_bytes"):
        apply(later.content, image.layers[-1], scans=later.scans)
    monkeypatch.setenv("PRESTOW_MAX_IMAGE_BYTES", str(total))
    allowed = again(node)
    admitted(allowed, image)
    unpacked(allowed, demo_layout, image)
    assert node.content.has(image.layers[-1].diff_id)


def described(node: Node, layout: Path, ref: str, *contents: bytes) -> Image:
    """Return an image of one file a layer, of which only the documents are here; its files do not compress."""
    tars = [Tar().file(f"file{n}", data * (LAYER // len(data))).to_bytes() for n, data in enumerate(contents)]
    write_image(layout, tars, ref=ref, compression="none", config={"Labels": {"ref": ref}})
    source = node.source(f"oci:{layout}:{ref}")
    return fetch_manifest(source, node.content, source.resolve(), Platform("linux", "amd64"))


@pytest.fixture
def small(disk: Path) -> Iterator[Node]:
    """A store on the small disk."""
    node = open_node(str(disk / "store"))
    yield node
    node.database.close()


def fill(disk: Path, free: int) -> None:
    """Leave so many bytes free."""
    (disk / "filler").write_bytes(bytes(free_space(disk).bytes - free))


def test_what_others_will_still_write_is_not_free(small: Node, disk: Path, tmp_path: Path) -> None:
    first = described(small, tmp_path / "layout", "first", b"a", b"b")
    second = described(small, tmp_path / "layout", "second", b"c", b"d")
    fill(disk, needs(first, small.content, shows_layers=True).bytes * 3 // 2)
    with small.leases.during("pull first", 60) as lease:
        admit(small, lease, first, "erofs")

        with pytest.raises(ExhaustedError, match=r"others will take 2\.0 MiB and 16 inodes of; what helps: waiting"):
            admitted(small, second)

    assert admitted(small, second) == 2


def test_what_is_only_stored_takes_its_blobs_and_is_announced_too(small: Node, disk: Path, tmp_path: Path) -> None:
    first, second = (
        _stored(small, tmp_path / "layout", put_artifact(tmp_path / "layout", (EMPTY, b"{}"), {"": ("a/b", data)}))
        for data in (b"a" * 2 * LAYER, b"b" * 2 * LAYER)
    )
    fill(disk, 3 * LAYER)
    with small.leases.during("pull first", 60) as lease:
        assert admit(small, lease, first) == 2
        with pytest.raises(ExhaustedError, match=r"others will take 2\.0 MiB and 16 inodes of") as refused:
            admit(small, small.leases.create("pull it", 60).id, second)
        with pytest.raises(ExhaustedError, match="others will take"):
            admitted(small, described(small, tmp_path / "layout", "first", b"c", b"d"))

    assert "keep_blobs" not in str(refused.value)
    assert admit(small, small.leases.create("pull it", 60).id, second) == 2


def _stored(node: Node, layout: Path, target: Descriptor) -> Artifact:
    """Return an artifact of which only the documents are here."""
    return fetch_artifact(node.source(f"oci:{layout}:any"), node.content, target, Platform("linux", "amd64"))


def test_layers_that_two_share_are_counted_once(small: Node, disk: Path, tmp_path: Path) -> None:
    first = described(small, tmp_path / "layout", "first", b"a", b"b")
    second = described(small, tmp_path / "layout", "second", b"a", b"b")
    fill(disk, needs(first, small.content, shows_layers=True).bytes * 3 // 2)

    assert (admitted(small, first), admitted(small, second)) == (2, 2)


def test_what_others_have_written_by_now_is_not_counted_twice(small: Node, disk: Path, tmp_path: Path) -> None:
    first = described(small, tmp_path / "layout", "first", b"a", b"b", b"c")
    second = described(small, tmp_path / "layout", "second", b"d")
    fill(disk, needs(first, small.content, shows_layers=True).bytes * 3 // 2)
    admitted(small, first)
    before = free_space(disk).bytes

    unpacked(small, tmp_path / "layout", first, "first")

    assert before - free_space(disk).bytes > 3 * LAYER
    assert admitted(small, second) == 1


def test_what_a_dead_process_has_announced_does_not_count(small: Node, disk: Path, tmp_path: Path) -> None:
    first = described(small, tmp_path / "layout", "first", b"a", b"b")
    second = described(small, tmp_path / "layout", "second", b"c", b"d")
    fill(disk, needs(first, small.content, shows_layers=True).bytes * 3 // 2)
    dead = Leases(small.database, process=Process("another boot", 1, 1)).create("pull first", 60)
    admit(small, dead.id, first, "erofs")

    assert admitted(small, second) == 2


def test_a_copy_that_will_not_fit_is_refused_before_anything_is_written(node: Node, disk: Path, tmp_path: Path) -> None:
    image = described(node, tmp_path / "layout", "first", b"a", b"b")
    unpacked(node, tmp_path / "layout", image, "first")
    fill(disk, LAYER)

    with pytest.raises(ExhaustedError, match=r"it needs 2\.0 MiB and 3 inodes; free are 1\.0 MiB"):
        write_copy(node, image, Spec.of({}), disk / "bundle")

    assert [path.name for path in disk.iterdir()] == ["filler"]


def test_a_copy_is_checked_against_what_will_be_unpacked_meanwhile_on_the_same_disk(
    small: Node, disk: Path, tmp_path: Path
) -> None:
    image = described(small, tmp_path / "layout", "first", b"a")
    other = described(small, tmp_path / "layout", "second", b"b", b"c")
    unpacked(small, tmp_path / "layout", image, "first")
    tree = Chain.of_image(image).tree(small.scans.tree)
    fill(disk, 2 * LAYER + LAYER // 2)
    admit_copy(small, tree, disk / "bundle")
    admitted(small, other)

    with pytest.raises(ExhaustedError, match="others will take"):
        admit_copy(small, tree, disk / "bundle")
