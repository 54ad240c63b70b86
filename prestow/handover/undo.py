"""Take back what was handed over: the names, and with them the pin, as far as they still stand for what we gave.

The layers go when the runtime's own garbage collection finds nothing that leads to them; a container keeps its own.
"""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

from prestow.errors import NotFoundError, PrestowError, printable
from prestow.handover.choose import runtime_at
from prestow.handover.hand_over import shared_names
from prestow.metadata.handed_over import HandedOver
from prestow.reference import image_name
from prestow.store.node import Node


@dataclass(frozen=True, slots=True)
class TakenBack:
    """An image that a runtime has no longer by us.

    Attributes:
        name: the image, as it is named here.
        runtime: that had it.
        namespace: of the runtime.
        names: that were removed there.
    """

    name: str
    runtime: str
    namespace: str
    names: tuple[str, ...]


def undo(node: Node, names: Iterable[str]) -> list[TakenBack]:
    """Take images back from every runtime that they were handed over to.

    Raises:
        NotFoundError: one was not handed over; none was taken back.
        PreconditionError: containers of podman need one.
        UnavailableError: a runtime does not answer.
        UnsupportedError: it is not there.
    """
    wanted = [record for name in names for record in _records(node, name)]
    taken = []
    for record in dict.fromkeys(wanted):
        with closing(runtime_at(node, record)) as runtime:
            removed = runtime.undo(record, shared_names(node, record))
        node.hand_overs.drop(record)
        taken.append(TakenBack(record.name, record.runtime, record.runtime_namespace, tuple(removed)))
    return taken


def _records(node: Node, text: str) -> list[HandedOver]:
    """Return what was handed over under a name, which need not be here any longer."""
    try:
        name = node.image(text).name
    except PrestowError:
        name = image_name(text, None)
    found = [record for record in node.hand_overs.list() if record.name == name]
    if not found:
        raise NotFoundError(f"image {printable(name)} was not handed over; `prestow in-use` lists those that were")
    return found
