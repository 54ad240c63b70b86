"""What ``prestow doctor`` says of the container runtime that images can be handed over to."""

from contextlib import closing
from dataclasses import dataclass

from prestow.handover.choose import runtime_of
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
    address = node.containerd.address
    if not address.is_socket():
        return HandingOver(f"no container runtime at {address}: images are handed over to none")
    with closing(runtime_of(node, "auto")) as runtime:
        look = runtime.look()
        form, why = runtime.form()
    found = (
        f"{look.runtime} {look.version}, namespace {look.namespace}, snapshotter {look.snapshotter}: images are {form}"
    )
    return HandingOver(found, f"{why}; {_BETTER}" if form is Form.APPLIED else "")
