"""Find the runtime that an image is to be handed over to: the one that was chosen, or the one that is on this host."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.errors import InvalidError, UnsupportedError
from prestow.handover.runtime import Runtime
from prestow.store.node import Node

if TYPE_CHECKING:
    from prestow.handover.containerd.runtime import Containerd
    from prestow.handover.containerd.snapshots import Files


def runtime_of(node: Node, choice: str) -> Runtime:
    """Return a runtime of this host; it is asked nothing yet.

    Raises:
        InvalidError: none is wanted.
        UnsupportedError: there is none, or its client is not installed.
    """
    if choice == "none":
        raise InvalidError("runtime: 'none' hands nothing over; choose auto or containerd")
    address = node.containerd.address
    if choice == "auto" and not address.is_socket():
        raise UnsupportedError(
            f"no runtime was found on this host: there is no socket {address}; start containerd, or set "
            "containerd_address"
        )
    return runtime_at(node, address, node.containerd.namespace)


def runtime_at(node: Node, address: Path, namespace: str) -> Runtime:
    """Return a containerd by its address; raises as :func:`runtime_of`."""
    client = client_of_containerd()
    return client(address, namespace, node.content, partial(_files, node), node.containerd.snapshotter)


def client_of_containerd() -> "type[Containerd]":
    """Return the class that speaks to containerd; importing it takes a moment.

    Raises:
        UnsupportedError: what it needs is not installed.
    """
    try:
        from prestow.handover.containerd.runtime import Containerd
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"handing over to containerd needs the package {error.name}; install prestow[containerd]"
        ) from error
    return Containerd


def _files(node: Node) -> "Files | None":
    """Return our own snapshotter, if containerd's can have links to its files."""
    from prestow.snapshots.drivers.erofs import ErofsSnapshotter

    try:
        found = node.snapshotter()
    except UnsupportedError:
        return None
    return found if isinstance(found, ErofsSnapshotter) else None
