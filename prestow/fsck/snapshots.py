"""Snapshots: what rows name is on disk, and what is on disk has a row; that rows fit is seen by then.

A committed row of an image needs no files of its own: they are made when they are wanted, and whether they are what
they should be is the image's own verification. What a container wrote exists once; if its folder is gone, it is lost.
"""

from collections.abc import Iterator
from functools import partial

from prestow.digest import Digest
from prestow.fsck.contradictions import Rows, line
from prestow.fsck.files import aside
from prestow.fsck.finding import Finding, made_again
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.snapshots.damage import Damage, DamageKind, Subject
from prestow.snapshots.maintained import Maintained
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.snapshots.mounts.users import users_of
from prestow.snapshots.snapshotter import Info
from prestow.store.node import Node


def snapshots(node: Node, *, unsure: bool = False) -> Iterator[Finding]:
    """Compare the rows of each driver with each other and with its folder; those of images not, while ``unsure``."""
    containers = {(each.driver, each.snapshot_key): each for each in Containers(node.database).every()}
    for driver in node.snapshotters:
        rows = {(info.driver, info.key): info for info in driver.walk()}
        parents = {info.parent for info in rows.values()}
        for info in rows.values():
            if info.diff_id is not None:
                if not unsure:
                    yield from _of_image(node, driver, info, rows, leaf=info.key not in parents)
            elif driver.lost(info):
                yield _lost(driver, info, containers.get((driver.driver, info.key)), leaf=info.key not in parents)
        yield from _strays(node, driver)
        for folder in driver.without_row_file():
            damage = Damage(
                DamageKind.ROW_FILE, Subject.file(folder / "row.json"), "does not say what the database says"
            )
            yield Finding(damage, "written again", partial(driver.write_row_file, folder))


def _of_image(node: Node, driver: Maintained, info: Info, rows: Rows, *, leaf: bool) -> Iterator[Finding]:
    """Judge a row that came from an image: something of it is here."""
    if not leaf or driver.committed(Digest(info.key)):
        return
    if not all(node.content.has(each.diff_id) for each in line(info, rows) if each.diff_id is not None):
        yield _no_row(driver, info, "has neither its files nor all its layers here", leaf=leaf)


def _lost(driver: Maintained, info: Info, container: ContainerRecord | None, *, leaf: bool) -> Finding:
    """Judge a row whose folder is gone."""
    if container is None:
        return _no_row(driver, info, "has no directory: what was written into it is lost", leaf=leaf)
    damage = Damage(
        DamageKind.SNAPSHOT,
        Subject.snapshot(driver.driver, info.key),
        "has no directory: what its container wrote is lost",
    )
    return Finding(damage, made_again(container))


def _no_row(driver: Maintained, info: Info, what: str, *, leaf: bool) -> Finding:
    """Return the finding of a row that stands for nothing."""
    damage = Damage(DamageKind.ROW, Subject.snapshot(driver.driver, info.key), what)
    if not leaf:
        return Finding(damage, "other snapshots have it as a parent; remove their containers and images first")
    return Finding(damage, "the row was removed", partial(driver.remove, info.key))


def _strays(node: Node, driver: Maintained) -> Iterator[Finding]:
    """Find what no row names."""
    for path in driver.strays():
        if mounts_below(path) or users_of([path]):
            damage = Damage(DamageKind.UNKNOWN, Subject.file(path), "has no row, and is mounted")
            yield Finding(damage, "unmount it first; find the mount with `prestow doctor` or findmnt")
        else:
            yield aside(node, path, DamageKind.UNKNOWN, "has no row")
