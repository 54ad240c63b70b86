"""Containers: each has its bundle and its snapshot, and each of the store's bundles has its container."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from prestow.content.disk import translated
from prestow.fsck.files import aside
from prestow.fsck.finding import Finding, made_again
from prestow.metadata.container_files import ContainerRecord, containers_match, read_containers
from prestow.metadata.containers import Containers, publish_containers
from prestow.runtime.bundle import CONFIG
from prestow.snapshots.damage import Damage, DamageKind, Subject
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.store.in_progress import COPY
from prestow.store.node import Node


def containers(node: Node) -> Iterator[Finding]:
    """Compare the containers of all namespaces with their bundles and snapshots."""
    with node.database.transaction():
        records = Containers(node.database).every()
        told = containers_match(node.home, records)
    if not told:
        damage = Damage(
            DamageKind.CONTAINER_FILES, Subject.file(node.home / "containers"), "does not say what the database says"
        )
        yield Finding(damage, "written again", partial(_publish, node))
    busy = {lease.owner.removeprefix("bundle ") for lease in node.leases.list() if lease.owner.startswith("bundle ")}
    keys = {(info.driver, info.key) for info in node.snapshots()}
    for record in records:
        if record.id not in busy:
            yield from _container(node, record, has_snapshot=(record.driver, record.snapshot_key) in keys)
    known = {record.bundle for record in records}
    for path in _bundles(node):
        if str(path) not in known and path.name not in busy:
            yield _bundle(node, path)


def _container(node: Node, record: ContainerRecord, *, has_snapshot: bool) -> Iterator[Finding]:
    """Judge one container: what it wrote is in its snapshot, what it is in its bundle; neither is made of the other."""
    has_bundle = (Path(record.bundle) / CONFIG).is_file()
    has_snapshot = has_snapshot or record.driver == COPY
    if not has_bundle and (not has_snapshot or record.driver == COPY):
        damage = _damage(record, f"has neither a bundle in {record.bundle} nor a snapshot")
        yield Finding(damage, "the container was removed", partial(_forget, node, record))
    elif not has_bundle or not has_snapshot:
        gone = f"snapshot {record.snapshot_key}" if has_bundle else f"bundle {record.bundle}"
        yield Finding(_damage(record, f"its {gone} is gone"), made_again(record))


def _damage(record: ContainerRecord, what: str) -> Damage:
    return Damage(DamageKind.CONTAINER, Subject.name(record.namespace, record.id), what)


def _forget(node: Node, record: ContainerRecord) -> None:
    Containers(node.database, record.namespace).remove(record.id)


def _publish(node: Node) -> None:
    for path in read_containers(node.home).corrupt:
        node.content.quarantine_area.take(path, "makes no sense")
    with node.database.transaction():
        publish_containers(node.database)


def _bundles(node: Node) -> Iterator[Path]:
    """List the folders of bundles in the store."""
    with translated(f"listing {node.home}"):
        for folder in (node.home / "bundles", *sorted(node.home.glob("namespaces/*/bundles"))):
            if folder.is_dir():
                yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _bundle(node: Node, path: Path) -> Finding:
    if mounts_below(path):
        damage = Damage(DamageKind.UNKNOWN, Subject.file(path), "is no container's, and has a mount")
        return Finding(damage, "unmount it first")
    return aside(node, path, DamageKind.UNKNOWN, "is no container's")
