"""What a flipped bit within a row leaves, which SQLite cannot see: the row says what the disk contradicts.

    snapshots     the key of a row from an image is the chain ID of its layers
    names         a target that is not here, where ``index.json`` tells of one that is
    containers    a snapshot, manifest or bundle that is not here, where its file tells of one that is

Such a database is damaged, and made anew. The files must not be written again from it, which would lose what was right.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from prestow.digest import Digest
from prestow.errors import PrestowError
from prestow.metadata.container_files import ContainerRecord, read_containers
from prestow.metadata.publish import contradicted
from prestow.oci.identity import chained
from prestow.runtime.bundle import CONFIG
from prestow.snapshots.snapshotter import Info
from prestow.store.in_progress import COPY
from prestow.store.node import Node

Rows: TypeAlias = Mapping[tuple[str, str], Info]
"""Snapshots by their driver and key."""


def contradictions(node: Node) -> Iterator[str]:
    """Yield what rows say that cannot be, or that is less than what is there; all is read at one moment.

    Raises:
        StorageError: the disk or the database failed.
    """
    with node.database.transaction():
        rows = {(info.driver, info.key): info for info in node.snapshots()}
        yield from _snapshots(rows)
        yield from contradicted(node.database, node.content)
        yield from _containers(node, rows)


def _snapshots(rows: Rows) -> Iterator[str]:
    for info in rows.values():
        if info.diff_id is not None and not _is_chain(info, rows):
            yield f"snapshot {info.driver} {info.key} is not the chain ID of its layers"


def line(info: Info, rows: Rows) -> list[Info]:
    """Return a row and those below it, as far as they are there."""
    found = {info.key: info}
    below = rows.get((info.driver, info.parent or ""))
    while below is not None and below.key not in found:
        found[below.key] = below
        below = rows.get((info.driver, below.parent or ""))
    return list(found.values())


def _is_chain(info: Info, rows: Rows) -> bool:
    """Whether a row is its layer on its parent; whether that is right, its own row is asked."""
    parent = rows.get((info.driver, info.parent or ""))
    if info.parent is not None and (parent is None or parent.diff_id is None):
        return False
    try:
        return chained(info.parent, Digest.parse(info.diff_id)) == info.key
    except PrestowError:
        return False


def _containers(node: Node, rows: Rows) -> Iterator[str]:
    def here(record: ContainerRecord) -> int:
        """Count what is here of what a container refers to."""
        snapshot = record.driver == COPY or (record.driver, record.snapshot_key) in rows
        return snapshot + node.content.has(record.manifest_digest) + (Path(record.bundle) / CONFIG).is_file()

    listed = {(record.namespace, record.id): record for record in read_containers(node.home).records}
    for record in node.containers.every():
        if here(listed.get((record.namespace, record.id), record)) > here(record):
            yield f"container {record.id} refers to what is not here, and its file in containers to what is"
