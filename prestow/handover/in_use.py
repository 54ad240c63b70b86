"""Which images of a store the runtime of this host uses, as it says itself; nothing is changed."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from prestow.errors import PrestowError
from prestow.handover.choose import runtime_of
from prestow.handover.links import shared_bytes
from prestow.handover.runtime import Look, Offer, Proof
from prestow.metadata.handed_over import HandedOver
from prestow.metadata.images import ImageRecord
from prestow.oci.lookup import find_image
from prestow.platforms import platform_or_host
from prestow.store.node import Node


@dataclass(frozen=True, slots=True)
class InUse:
    """One image, and what the runtime says of it.

    Attributes:
        name: the image.
        digest: of its target here.
        handed_over: whether it was handed over to that runtime.
        in_use: whether a container that starts now uses it as it is here.
        resolves: for each name by which containers may ask for it, whether the runtime finds this image.
        unpacked: whether the snapshotter that containers use has all its layers.
        pinned: whether the runtime's garbage collection leaves it.
        form: how its layers are kept there, if it was handed over.
        shared_bytes: of files of its layers that are there once for both.
        last_container: when a container was last made of it, in seconds since the epoch; None if there is none.
        faults: why it is not in use.
    """

    name: str
    digest: str
    handed_over: bool
    in_use: bool
    resolves: dict[str, bool]
    unpacked: bool
    pinned: bool
    form: str
    shared_bytes: int
    last_container: float | None
    faults: tuple[str, ...]


def in_use(node: Node, names: Sequence[str] = (), choice: str = "auto") -> tuple[Look, list[InUse]]:
    """Ask the runtime about some images, or about all of the namespace.

    Raises:
        NotFoundError: no such image.
        UnsupportedError: there is no runtime.
        UnavailableError: it does not answer.
    """
    records = [*{record.name: record for record in map(node.image, names)}.values()] if names else node.images.list()
    with closing(runtime_of(node, choice)) as runtime:
        look = runtime.look()
        last = runtime.last_used()
        before = {
            each.name: each
            for each in node.hand_overs.list()
            if (each.runtime, each.address, each.runtime_namespace)
            == (runtime.runtime, str(runtime.address), runtime.namespace)
        }
        offers, found = [], []
        for record in records:
            row = before.get(record.name)
            try:
                image = find_image(node.content, record.target, platform_or_host(None))
            except PrestowError as error:  # an artifact, or an image for another platform
                found.append(_not_usable(record, str(error)))
            else:
                ours = frozenset() if row is None else frozenset({row.digest})
                offers.append(Offer(record.name, image, pin=row is not None and row.pinned, ours=ours))
        for offer, proof in zip(offers, runtime.prove(offers), strict=True):
            made = [last[name] for name in proof.resolves if name in last]
            found.append(_entry(node, offer, proof, before.get(offer.name), max(made, default=None)))
    return look, sorted(found, key=lambda each: each.name)


def _entry(node: Node, offer: Offer, proof: Proof, row: HandedOver | None, last: float | None) -> InUse:
    return InUse(
        name=offer.name,
        digest=offer.image.target.digest,
        handed_over=row is not None,
        in_use=proof.holds,
        resolves=proof.resolves,
        unpacked=proof.unpacked,
        pinned=proof.pinned,
        form="" if row is None else row.form,
        shared_bytes=shared_bytes(node.content, offer.image, "" if row is None else row.form),
        last_container=last,
        faults=proof.faults,
    )


def _not_usable(record: ImageRecord, why: str) -> InUse:
    return InUse(
        name=record.name,
        digest=record.target.digest,
        handed_over=False,
        in_use=False,
        resolves={},
        unpacked=False,
        pinned=False,
        form="",
        shared_bytes=0,
        last_container=None,
        faults=(why,),
    )
