"""Containers: a bundle on a snapshot, from its making to its end.

    write_mounted   rootfs mounted from the container's snapshot; a row holds image and snapshot from then on
    write_copy      rootfs a full copy of the image; nothing in the store is held, the bundle may move elsewhere
    write_copy_in_store      such a copy among the store's own bundles: a container of it, for those who may not mount
    remove_container  the end: unmount, drop what was written, forget

This is where snapshots, runtime and metadata meet; each of them knows nothing of the others. What runs in between is in
:mod:`prestow.containers.process`.
"""

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from prestow.containers.process import clear_stopped
from prestow.errors import AlreadyExistsError, NotFoundError, UnsupportedError
from prestow.layers.materialise import Materialised, materialise
from prestow.metadata.container_files import ContainerRecord
from prestow.oci.image import Image
from prestow.runtime.bundle import (
    CONFIG,
    FILLING,
    ROOTFS,
    claim_root,
    prepare_bundle,
    prepare_empty,
    write_bundle,
)
from prestow.runtime.spec import Spec
from prestow.snapshots.chain import Chain
from prestow.snapshots.create import Created
from prestow.snapshots.mounts.mount import mount_all
from prestow.snapshots.mounts.mountinfo import mounted_at
from prestow.snapshots.remove import remove_tree
from prestow.space.admission import admit_copy
from prestow.store.in_progress import COPY, discard, drop_snapshot, exclusive
from prestow.store.node import Node


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle that is complete.

    Attributes:
        directory: its folder.
        driver: the snapshotter that shows its root; ``copy`` where it is a full copy.
        warnings: what of the image's config was left out, and why.
    """

    directory: Path
    driver: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Container:
    """A container to be: its ID, its image and that image's name, and its snapshot; None for a copy."""

    id: str
    name: str
    image: Image
    created: Created | None


def write(node: Node, container: Container, spec: Spec, directory: Path) -> Written:
    """Make a bundle: on the container's snapshot if it has one, else a copy; one in the store's own place is kept.

    Raises:
        AlreadyExistsError: another container has the ID, or the folder holds something else.
        UnsupportedError: mounting is not allowed here; a copy is.
    """
    own = node.bundle_folder(container.id)
    if container.created is None and directory != own:
        return write_copy(node, container.image, spec, directory)
    with exclusive(own.parent, container.id, directory):
        if container.created is None:
            return write_copy_in_store(node, container, spec, directory)
        return write_mounted(node, container, container.created, spec, directory)


def write_mounted(node: Node, container: Container, created: Created, spec: Spec, directory: Path) -> Written:
    """Make a bundle whose root is the container's snapshot, mounted; the same again is success.

    What fails leaves neither container nor snapshot behind, but those that were there before.

    Raises:
        AlreadyExistsError: another container has the ID, or the folder holds something else.
        UnsupportedError: mounting is not allowed here; a copy is.
    """
    record = _record(node, container, directory)
    known = _known(node, record)
    with ExitStack() as undo:
        if not known:
            undo.callback(drop_snapshot, record, node.snapshotters)
        if os.geteuid() != 0:
            raise UnsupportedError("mounting a bundle needs root; make a full copy instead, with --copy")
        if not known:
            _refuse_another(directory)
            prepare_empty(directory)
            undo.callback(discard, record, node.containers, node.snapshotters)
        rootfs = prepare_bundle(directory)
        node.containers.put(record)
        if not mounted_at(rootfs):
            mount_all(created.mounts, rootfs)
        write_bundle(spec, directory, rootfs="filled")
        undo.pop_all()
    return Written(directory, created.driver, spec.warnings)


def _known(node: Node, record: ContainerRecord) -> bool:
    """Return whether this very container was made before."""
    try:
        found = node.containers.get(record.id)
    except NotFoundError:
        return False
    if found.bundle != record.bundle:
        raise AlreadyExistsError(f"container {record.id} exists, with its bundle in {found.bundle}; choose another ID")
    return True


def _refuse_another(directory: Path) -> None:
    """Refuse a folder that is a complete bundle, which only its own container may take up."""
    if (directory / CONFIG).exists() or mounted_at(directory / ROOTFS):
        raise AlreadyExistsError(
            f"{directory} is the bundle of another container; remove that container, or choose another directory"
        )


def _record(node: Node, container: Container, directory: Path) -> ContainerRecord:
    created = container.created
    return ContainerRecord(
        namespace=node.namespace,
        id=container.id,
        image=container.name,
        manifest_digest=container.image.manifest.digest,
        driver=created.driver if created else COPY,
        snapshot_key=created.key if created else "",
        bundle=str(directory),
        created_at=time.time(),
    )


def write_copy(node: Node, image: Image, spec: Spec, directory: Path) -> Written:
    """Make a bundle whose root is a full copy of the image, written from the model.

    A bundle that is complete is kept; a copy that was cut off is made anew.

    Raises:
        AlreadyExistsError: the folder holds something else.
        ExhaustedError: it will not fit on the disk.
    """
    warnings = spec.warnings
    if not (directory / CONFIG).exists():
        root = Chain.of_image(image).tree(node.scans.tree)
        if (directory / FILLING).exists():  # a copy that was cut off; what it takes is there for the next
            remove_tree(claim_root(directory))
        admit_copy(node, root, directory)
        rootfs = claim_root(directory)
        remove_tree(rootfs)
        made = materialise(
            root, lambda at: node.content.open_fd(image.layers[at].diff_id), rootfs, privileged=os.geteuid() == 0
        )
        warnings += _unowned(made)
    write_bundle(spec, directory, rootfs="filled")
    return Written(directory, COPY, warnings)


def write_copy_in_store(node: Node, container: Container, spec: Spec, directory: Path) -> Written:
    """Make a bundle whose root is a full copy, and which the store keeps as a container; the same again is success.

    Raises:
        AlreadyExistsError: another container has the ID, or the folder holds something else.
    """
    record = _record(node, container, directory)
    known = _known(node, record)
    with ExitStack() as undo:
        if not known:
            _refuse_another(directory)
            claim_root(directory)
            undo.callback(discard, record, node.containers, node.snapshotters)
        node.containers.put(record)
        written = write_copy(node, container.image, spec, directory)
        undo.pop_all()
    return written


def _unowned(made: Materialised) -> tuple[str, ...]:
    """Return what an ordinary user could not make as the image has it."""
    found = {
        f"{made.unowned} files belong to you, though not in the image": made.unowned,
        f"{made.devices} devices were left out": made.devices,
        f"{made.xattrs} extended attributes were left out": made.xattrs,
    }
    return tuple(f"{what}: that needs root" for what, count in found.items() if count)


def remove_container(node: Node, container_id: str) -> ContainerRecord:
    """End a container: unmount its root, drop what it wrote, remove its bundle, forget it.

    Raises:
        NotFoundError: no such container.
        PreconditionError: it is running.
    """
    node.recover()
    record = node.containers.get(container_id)
    with exclusive(node.bundle_folder(container_id).parent, container_id, Path(record.bundle)):
        clear_stopped(node, container_id)
        discard(record, node.containers, node.snapshotters)
    return record
