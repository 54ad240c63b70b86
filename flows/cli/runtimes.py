"""What ``prestow doctor`` says of the container runtime that images can be handed over to."""

from contextlib import closing
from dataclasses import dataclass

from prestow.errors import UnsupportedError
from prestow.handover.choose import kind_of, podman_of, runtime_of
from prestow.handover.podman.runtime import Podman
from prestow.handover.runtime import Form
from prestow.store.node import Node

_BETTER = (
    "so containerd unpacks the layers itself; with containerd 2.3.4 or later, its erofs snapshotter and the store on "
    "the same file system, images are linked, which takes no time and no space"
)


@dataclass(frozen=True, slots=True)
class HandingOver:
    """Whether and how images can be handed over.

    Attributes:
        found: one line about the runtime.
        advice: how to get the better form; empty if it is the better one, or there is no runtime.
    """

    found: str
    advice: str = ""


def handing_over(node: Node) -> HandingOver:
    """Ask the runtime of this host.

    Raises:
        PrestowError: it does not answer, or a setting does not fit it.
    """
    try:
        kind = kind_of(node, "auto")
    except UnsupportedError:
        return HandingOver(f"no podman, and no containerd at {node.containerd.address}: images are handed over to none")
    if kind == Podman.runtime:
        return _podman(podman_of(node))
    with closing(runtime_of(node, kind)) as runtime:
        look = runtime.look()
        form, why = runtime.form()
    found = (
        f"{look.runtime} {look.version}, namespace {look.namespace}, snapshotter {look.snapshotter}: images are {form}"
    )
    return HandingOver(found, f"{why}; {_BETTER}" if form is Form.APPLIED else "")


def _podman(podman: Podman) -> HandingOver:
    look = podman.look()
    found = f"{look.runtime} {look.version}: images are {Form.MOUNTED}, from {podman.address}"
    return HandingOver(found, "" if podman.reads_it else f"it does not read that directory: {podman.advice}")
