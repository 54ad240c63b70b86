"""What a command does is the same whatever else the store has; and what looks at the whole store takes twice for twice.

Nothing is timed: counted is what SQLite's machine steps through, what folders list, and, where all is to be the same,
what Python calls.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from prestow.fsck.run import fsck
from prestow.gc.explain import explain
from prestow.gc.prune import prune
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.layout_index import read_index
from prestow.metadata.removal import remove_images
from prestow.metadata.tag import label, tag
from prestow.snapshots.root_view import looked_at
from prestow.store.node import Node, open_node
from tests.image_factory import write_image
from tests.pulling import pulled
from tests.stores import DRIVER, grow, grow_containers, name
from tests.tar_builder import Tar

SMALL, LARGE = 20, 200
FRESH = count()


@dataclass
class Work:
    """What was done, in three units."""

    calls: int = 0
    steps: int = 0
    entries: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.calls + self.steps + self.entries


COUNTED = Work()
_LISTDIR = os.listdir


def _entries(path: object) -> int:
    """The number of entries of a folder; of an open one, without moving where it is read."""
    return len(_LISTDIR(f"/proc/self/fd/{path}" if isinstance(path, int) else path))


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Count what is in each folder that is listed."""

    def listing(path: object = ".") -> Any:
        COUNTED.entries += _entries(path)
        return function(path)

    return listing


@contextmanager
def counting(node: Node, *, calls: bool) -> Iterator[Work]:
    """Count what is done in the block; ``calls``: those of functions too, which takes its time."""
    COUNTED.calls = COUNTED.steps = COUNTED.entries = 0
    node.database.read("SELECT 1")
    connection = node.database._here().connection

    def step() -> int:
        COUNTED.steps += 1
        return 0

    def called(frame: object, event: str, arg: object) -> None:
        COUNTED.calls += event in ("call", "c_call")

    before = sys.getprofile()
    connection.set_progress_handler(step, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "listdir", _counted(os.listdir))
        patch.setattr(os, "scandir", _counted(os.scandir))
        sys.setprofile(called if calls else before)
        try:
            yield COUNTED
        finally:
            sys.setprofile(before)
            connection.set_progress_handler(None, 0)


@dataclass(frozen=True)
class Stores:
    """Two stores, of which one has ten times as much as the other."""

    small: Node
    large: Node
    folder: Path

    def done(self, work: Callable[[Node], object], *, calls: bool = False) -> tuple[int, int]:
        """Count what the same work does in both; ``calls``: also of functions, after once for what a boot does once."""
        found = []
        for node in (self.small, self.large):
            if calls:
                work(node)
            with counting(node, calls=calls) as counted:
                work(node)
            found.append(counted.total)
        return found[0], found[1]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("growth")
    stores = Stores(open_node(folder / "small"), open_node(folder / "large"), folder)
    for node, images in ((stores.small, SMALL), (stores.large, LARGE)):
        grow(node, images)
        grow_containers(node, images // 4)
        for _ in range(images // 10):
            node.snapshotter("native").prepare(f"container-{next(FRESH):06d}", None)
    yield stores
    for node in (stores.small, stores.large):
        node.database.close()


def _pull(stores: Stores, node: Node) -> None:
    number = next(FRESH)
    write_image(stores.folder / "layout", [Tar().file(f"{number:06d}", b"x").to_bytes()], ref="fresh")
    with node.unfinished(f"pull {number}"):
        pulled(node, f"oci:{stores.folder}/layout:fresh", f"localhost/{number:06d}:1", drivers=(DRIVER, "native"))


def _tag(_: Stores, node: Node) -> None:
    tag(node.database, node.content, f"localhost/{next(FRESH):06d}:1", node.image(name(3)).target)


def _label(_: Stores, node: Node) -> None:
    label(node.database, node.content, name(5), {"n": f"{next(FRESH):06d}"})


def _remove(_: Stores, node: Node) -> None:
    target = node.image(name(4)).target
    tag(node.database, node.content, "localhost/a:1", target)
    node.recover()
    remove_images(node.database, node.content, ["localhost/a:1"])


def _find(_: Stores, node: Node) -> None:
    digest = node.image(name(6)).target.digest
    node.image(digest[:20])
    node.images.use(name(6))


def _record(_: Stores, node: Node) -> None:
    """Note a container, and forget it."""
    image, key = node.images.get(name(7)), f"mine-{next(FRESH):06d}"
    made = ContainerRecord("default", key, image.name, image.target.digest, "native", key, f"{node.home}/{key}", 0.0)
    node.containers.put(made)
    node.containers.remove(made.id)


def _container(_: Stores, node: Node) -> None:
    """Make a snapshot and look into it, and remove both: by the driver that needs no mounts."""
    driver, key = node.snapshotter("native"), f"mine-{next(FRESH):06d}"
    with node.lease("bundle mine"):
        driver.prepare(key, None)
        driver.commit(f"{key}-done", key)
        with looked_at(driver, f"{key}-done", node.home / "looks"):
            pass
        driver.remove(f"{key}-done")


@pytest.mark.parametrize("work", [_pull, _tag, _label, _remove, _find, _record, _container])
def test_a_command_does_the_same_whatever_else_the_store_has(
    stores: Stores, work: Callable[[Stores, Node], object]
) -> None:
    small, large = stores.done(lambda node: work(stores, node), calls=True)

    # Halving the names of index.json takes three or four looks more.
    assert large <= 1.1 * small + 100, (small, large)


WHOLE: dict[str, Callable[[Node], object]] = {
    "verify --all": lambda node: fsck(node, None),
    "prune --dry-run": lambda node: prune(node, dry_run=True),
    "explain": lambda node: explain(node, node.image(name(9)).target.digest),
    "images": lambda node: node.images.list(),
    "index.json": lambda node: read_index(node.content.root),
    "recover, once in a boot": lambda node: node.recover(whole=True),
}


@pytest.mark.parametrize("work", WHOLE.values(), ids=WHOLE)
def test_what_looks_at_the_whole_takes_ten_times_as_much_for_ten_times_as_much(
    stores: Stores, work: Callable[[Node], object]
) -> None:
    small, large = stores.done(work)

    assert large <= 1.1 * (LARGE / SMALL) * small + 100, (small, large)
