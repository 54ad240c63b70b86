"""Which containers stand on snapshots that were damaged, and are to be started again after a repair.

A mount keeps the files that it was made of: nothing is pulled from under a running container, and nothing heals it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prestow.digest import Digest
from prestow.node import Node
from prestow.runtime.bundle import ROOTFS
from prestow.snapshots.mountinfo import mounted_at
from prestow.snapshots.snapshotter import Info


@dataclass(frozen=True, slots=True)
class Affected:
    """A container on something that was damaged.

    Attributes:
        namespace: whose it is.
        id: its name there.
        what: what it has, and what to do.
    """

    namespace: str
    id: str
    what: str


def affected(node: Node, renewed: Mapping[str, Collection[Digest]]) -> Iterator[Affected]:
    """Tell which containers have, or may have, something of what was damaged."""
    for driver in node.snapshotters:
        rows = {info.key: info for info in driver.walk()}
        chains = renewed.get(driver.driver, ())
        for container in node.containers.every():
            if container.driver == driver.driver and not set(_line(rows, container.snapshot_key)).isdisjoint(chains):
                rootfs = Path(container.bundle) / ROOTFS
                if driver.copies:
                    yield Affected(
                        container.namespace, container.id, "may be a copy of what was damaged: make it again"
                    )
                elif mounted_at(rootfs):
                    what = f"keeps what was damaged until it is started again: stop it, `umount {rootfs}`, start it"
                    yield Affected(container.namespace, container.id, what)


def _line(rows: Mapping[str, Info], key: str | None) -> Iterator[str]:
    """Give the key of a snapshot and those of all below it."""
    while key is not None and key in rows:
        yield key
        key = rows[key].parent
