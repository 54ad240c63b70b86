"""Find the runtime that an image is to be handed over to: the one that was chosen, or the one that is on this host."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.errors import InvalidError, UnsupportedError
from prestow.handover.program import find_program
from prestow.handover.runtime import Runtime
from prestow.metadata.handed_over import HandedOver
from prestow.store.node import Node

if TYPE_CHECKING:
    from prestow.handover.containerd.runtime import Containerd
    from prestow.handover.containerd.snapshots import Files
    from prestow.handover.podman.runtime import Podman

_PODMAN, _DOCKER = "podman", "docker"


def runtime_of(node: Node, choice: str) -> Runtime:
    """Return a runtime of this host; it is asked nothing yet.

    Raises:
        InvalidError: none is wanted.
        UnsupportedError: there is none, or its client is not installed.
    """
    kind = kind_of(node, choice)
    if kind == _PODMAN:
        return podman_of(node)
    if kind == _DOCKER:
        return _docker_of(node)
    return _containerd_at(node, node.containerd.address, node.containerd.namespace)


def kind_of(node: Node, choice: str) -> str:
    """Return which runtime a choice means here; ``auto`` the one that the settings name, or else the one that is here.

    Raises:
        InvalidError: none is wanted.
        UnsupportedError: there is none.
    """
    if choice == "none":
        raise InvalidError("runtime: 'none' hands nothing over; choose auto, containerd, docker or podman")
    if choice != "auto":
        return choice
    if (named := node.named_runtime) is not None:
        return named
    if node.containerd.address.is_socket() or find_program("containerd") is not None:
        return "containerd"  # also if it does not run now: its images are not podman's
    if find_program(_PODMAN) is not None:
        return _PODMAN
    raise UnsupportedError(
        f"no runtime was found on this host: there is no socket {node.containerd.address}, and no podman; start "
        "containerd, or set containerd_address"
    )


def runtime_at(node: Node, handed_over: HandedOver) -> Runtime:
    """Return the runtime that something was handed over to, docker's containerd for docker; raises as above."""
    if handed_over.runtime == _PODMAN:
        return podman_of(node)
    return _containerd_at(node, Path(handed_over.address), handed_over.runtime_namespace)


def podman_of(node: Node) -> "Podman":
    """Return podman, with the image store that it has in ours."""
    from prestow.handover.podman.runtime import FOLDER, Podman

    return Podman(node.home / FOLDER, node.content, lambda: node.snapshotters, node.snapshotter)


def _docker_of(node: Node) -> Runtime:
    client_of_containerd()
    from prestow.handover.docker import Docker, docker_info

    return Docker(docker_info(), node.containerd.address, node.content, partial(_files, node))


def _containerd_at(node: Node, address: Path, namespace: str) -> Runtime:
    client = client_of_containerd()
    return client(address, namespace, node.content, partial(_files, node), node.containerd.snapshotter)


def check_client(node: Node, choice: str) -> None:
    """Make sure that a choice can be asked once it runs; a containerd that does not run now may do so then.

    Raises:
        UnsupportedError: what the hand-over needs is not installed.
    """
    kind = "containerd"
    with suppress(UnsupportedError):  # a containerd that does not run now
        kind = kind_of(node, choice)
    if kind == _PODMAN:
        podman_of(node).look()
    else:
        client_of_containerd()


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
