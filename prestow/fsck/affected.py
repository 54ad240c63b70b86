"""Which containers stand on snapshots that are damaged, or were, and are to be started again after a repair.

A mount keeps the files that it was made of: nothing is pulled from under a running container, and nothing heals it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prestow.digest import Digest
from prestow.runtime.bundle import ROOTFS
from prestow.snapshots.damage import FILES, Damage, DamageKind
from prestow.snapshots.mounts.mountinfo import mounted_at
from prestow.snapshots.snapshotter import Info
from prestow.store.node import Node

_COPIED = (
    "may be a copy of damaged data: repair the image, then recreate the container",
    "may be a copy of data that was damaged: recreate the container",
)
_MOUNTED = (
    "uses damaged data: repair the image, then restart the container",
    "keeps using the damaged data until it is restarted: stop it, `umount {rootfs}`, start it",
)


@dataclass(frozen=True, slots=True)
class Affected:
    """A container on something that is damaged, or was.

    Attributes:
        namespace: whose it is.
        id: its name there.
        what: what it has, and what to do.
    """

    namespace: str
    id: str
    what: str


def damaged_chains(node: Node, found: Iterable[Damage]) -> dict[str, set[Digest]]:
    """Return the chain IDs whose own files, or whose layers' files, are damaged, by driver."""
    damages = list(found)
    diff_ids = {Digest(damage.name) for damage in damages if damage.kind is DamageKind.DIFF_BLOB}
    paths = [Path(damage.name) for damage in damages if damage.kind in FILES]
    return {
        driver.driver: {*driver.having(paths), *(driver.built_of(diff_ids) if driver.shows_layers else ())}
        for driver in node.snapshotters
    }


def affected(node: Node, chains: Mapping[str, Collection[Digest]], *, repaired: bool) -> Iterator[Affected]:
    """Yield which containers have, or may have, something of what is damaged in these chain IDs, or was."""
    for driver in node.snapshotters:
        rows = {info.key: info for info in driver.walk()}
        damaged = chains.get(driver.driver, ())
        for container in node.containers.every():
            if container.driver == driver.driver and not set(_line(rows, container.snapshot_key)).isdisjoint(damaged):
                rootfs = Path(container.bundle) / ROOTFS
                if driver.copies:
                    yield Affected(container.namespace, container.id, _COPIED[repaired])
                elif mounted_at(rootfs):
                    yield Affected(container.namespace, container.id, _MOUNTED[repaired].format(rootfs=rootfs))


def _line(rows: Mapping[str, Info], key: str | None) -> Iterator[str]:
    """Yield the key of a snapshot and those of all below it."""
    while key is not None and key in rows:
        yield key
        key = rows[key].parent
