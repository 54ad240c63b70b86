"""One of the processes that use a store at the same time as others: ``python -m tests.loops ROLE STORE …``.

    pull      images with shared layers; some pulls break off, some names are forgotten afterwards
    bundle    a container's snapshot is made on an image, mounted, read, and removed
    fsck      everything is hashed and compared
    prune     whatever nothing holds goes, and sometimes what broken off pulls left

The other arguments are the images' layout, a seed, and how long: a number of rounds, seconds as in ``60s``, or the name
of a file that ends the loop by its existence. A process that meets anything unexpected ends with a traceback; one that
has more descriptors at the end than it ever had in the first half, likewise.
"""

import gc
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from prestow.content.verify import verify as commit
from prestow.errors import NotFoundError, UnavailableError
from prestow.fsck.image import fsck_image
from prestow.gc.prune import Choice, prune
from prestow.layers.apply import apply
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.tag import tag, untag
from prestow.oci.lookup import find_image, holds_documents
from prestow.platforms import Platform
from prestow.registry.fetch import fetch_layer, fetch_manifest
from prestow.snapshots.commit import commit_snapshots
from prestow.snapshots.mounts.mount import mount_all, unmount
from prestow.store.node import Node, open_node

REFS = ("one", "two", "three")
PLATFORM = Platform("linux", "amd64")


class BrokenOffError(Exception):
    """A pull was broken off on purpose."""


def name_of(ref: str) -> str:
    """Return the name that an image has in the store."""
    return f"localhost/{ref}:latest"


def pull(node: Node, layout: Path, ref: str, *, driver: str = "erofs", layers: int | None = None) -> None:
    """Pull an image of a layout; broken off after so many layers if that is given."""
    pull_from(node, f"oci:{layout}:{ref}", name_of(ref), driver=driver, layers=layers)


def pull_from(node: Node, reference: str, name: str, *, driver: str = "erofs", layers: int | None = None) -> None:
    """Pull as the flow does, in the same order, but one layer after the other."""
    source = node.source(reference)
    with node.unfinished(f"pull {name}") as lease:
        target = source.resolve()
        node.leases.add(lease, "content", [target.digest])
        image = fetch_manifest(source, node.content, target, PLATFORM)
        node.protect(lease, image)
        if not holds_documents(node.content, target, PLATFORM):
            fetch_manifest(source, node.content, target, PLATFORM)
        for layer in image.layers[:layers]:
            fetch_layer(source, node.content, layer, scans=node.scans)
            commit(node.content, layer.descriptor)
            apply(node.content, layer, scans=node.scans)
        if layers is not None:
            raise BrokenOffError
        commit_snapshots(node.snapshotter(driver), image)
        tag(node.database, node.content, name, target)


def _pull(node: Node, layout: Path, dice: random.Random) -> None:
    ref = dice.choice(REFS)
    with suppress(BrokenOffError):
        pull(node, layout, ref, driver=dice.choice(("erofs", "native")), layers=dice.choice((None, None, 1)))
    if dice.random() < 1 / 2:
        with suppress(NotFoundError):
            untag(node.database, node.content, name_of(ref))


def _bundle(node: Node, _layout: Path, dice: random.Random) -> None:
    key = f"box{os.getpid()}"
    ref = dice.choice(REFS)
    with node.lease(f"bundle {key}") as lease, suppress(NotFoundError):
        record = node.images.get(name_of(ref))
        node.leases.add(lease, "content", [record.target.digest])
        image = find_image(node.content, record.target, PLATFORM)  # or it went before the lease held it
        node.protect(lease, image)
        node.leases.add(lease, "snapshot", [key])
        driver = node.snapshotter("erofs")
        if not all(node.content.has(layer.diff_id) for layer in image.layers):
            return  # likewise
        commit_snapshots(driver, image)
        at = node.home.parent / key
        at.mkdir(exist_ok=True)
        mounts = driver.prepare(key, image.chain_id)
        node.containers.put(
            ContainerRecord("default", key, record.name, image.manifest.digest, "erofs", key, str(at), time.time())
        )
        mount_all(mounts, at)
        try:
            assert (at / "base").read_bytes() == b"base" * 1000
            assert (at / ref).read_bytes() == ref.encode() * 1000
        finally:
            unmount(at)
            driver.remove(key)
            node.containers.remove(key)


def _fsck(node: Node, _layout: Path, dice: random.Random) -> None:
    records = node.images.list()
    for record in dice.sample(records, len(records)):
        found = fsck_image(node, record)
        with suppress(NotFoundError):
            now = node.images.get(record.name)
            assert found.damaged == () or now.created_at != record.created_at, found.damaged


def _prune(node: Node, _layout: Path, dice: random.Random) -> None:
    swept = prune(node, Choice(unfinished=dice.random() < 1 / 4), dry_run=dice.random() < 1 / 4)
    assert swept.left == (), swept.left


ROLES: dict[str, Callable[[Node, Path, random.Random], None]] = {
    "pull": _pull, "bundle": _bundle, "fsck": _fsck, "prune": _prune,
}  # fmt: skip


def _rounds(text: str) -> Iterator[None]:
    if text.isdecimal():
        yield from (None for _ in range(int(text)))
    elif text.endswith("s") and text[:-1].isdecimal():
        end = time.monotonic() + int(text[:-1])
        while time.monotonic() < end:
            yield
    else:
        while not Path(text).exists():
            yield


def _descriptors() -> list[str]:
    gc.collect()
    links = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            links.append(str(path.readlink()))
    return sorted(links)


def main(role: str, store: str, layout: str, seed: str, rounds: str) -> None:
    """Play a role until the end."""
    node, dice = open_node(store), random.Random(seed)
    counts = []
    for _ in _rounds(rounds):
        with suppress(UnavailableError):  # somebody else held a lock for longer than the patience: legal, try again
            ROLES[role](node, Path(layout), dice)
        counts.append(_descriptors())
    first = counts[: len(counts) // 2 + 1]
    assert not counts or len(counts[-1]) <= max(map(len, first)), f"descriptors leaked: {first[-1]} {counts[-1]}"


if __name__ == "__main__":
    main(*sys.argv[1:])
