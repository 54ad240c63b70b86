"""Step ``hand_over``: an image that is here becomes one that a runtime of this host uses, and the runtime says so.

    look ─▶ prove ──holds──▶ done
                  └────────▶ give ─▶ record ─▶ prove

An image that the runtime has costs a few questions; so the step may run every hour, and is the cure where the runtime's
own garbage collection took the image: it is given again, without a network.
"""

from contextlib import closing
from dataclasses import dataclass, replace

from prestow.content.store import Progress
from prestow.digest import Digest
from prestow.errors import PrestowError, RuntimeFailedError, printable
from prestow.handover.choose import runtime_of
from prestow.handover.links import shared_bytes
from prestow.handover.runtime import Given, Offer, Proof, Runtime, unheard
from prestow.metadata.handed_over import HandedOver
from prestow.oci.image import Image
from prestow.store.node import Node


@dataclass(frozen=True, slots=True)
class HandOver:
    """An image that a runtime of this host uses.

    Attributes:
        name: the image.
        digest: of its target.
        runtime: that has it, with its version.
        namespace: of the runtime, where it is.
        snapshotter: of the runtime, that has its layers.
        form: how its layers are kept there, ``linked``, ``applied`` or ``mounted``; empty if it was there, and not
            given by us.
        why: why not in the better form; empty if it is the better one, or was given earlier.
        pinned: whether the runtime's garbage collection leaves it.
        shared_bytes: of files of its layers that are there once for both.
    """

    name: str
    digest: str
    runtime: str
    namespace: str
    snapshotter: str
    form: str
    why: str
    pinned: bool
    shared_bytes: int


def hand_over(  # noqa: PLR0913 - what a person may choose
    node: Node,
    name: str,
    image: Image,
    choice: str = "auto",
    *,
    pin: bool = False,
    force: bool = False,
    progress: Progress = unheard,
) -> HandOver:
    """Hand an image over to a runtime of this host; success if it uses it already.

    Args:
        node: the store.
        name: of the image, as it is named here; containers ask the runtime for it by this.
        image: everything of it is here.
        choice: the runtime.
        pin: whether the runtime's own garbage collection is to leave the image.
        force: whether the name is taken from another image that bears it there.
        progress: told of the compressed bytes of each layer that the runtime has.

    Raises:
        UnsupportedError: there is no such runtime, or nothing can be handed over to it.
        AlreadyExistsError: it has another image of this name, which we did not give.
        PreconditionError: a layer is not in the store as it was compressed.
        ExhaustedError: the runtime's disk is full.
        RuntimeFailedError: the runtime failed, or would not use the image after all.
    """
    with closing(runtime_of(node, choice)) as runtime:
        offer = offered(node, runtime, name, image, pin=pin, force=force)
        (proof,) = runtime.prove([offer])
        before, why = _record(node, runtime, name), ""
        if not proof.holds:
            given = runtime.give(offer, progress)
            why = given.why
            _note(node, runtime, offer, given, before)
            (proof,) = runtime.prove([replace(offer, ours=offer.ours | {image.target.digest})], patient=True)
            _check(runtime, proof)
        elif before is None or before.digest != image.target.digest:
            _note(node, runtime, offer, None, before)
        return _result(node, runtime, offer, proof, why)


def is_handed_over(node: Node, name: str, image: Image, choice: str, *, pin: bool) -> bool:
    """Whether a runtime of this host says that it would use an image."""
    try:
        with closing(runtime_of(node, choice)) as runtime:
            (proof,) = runtime.prove([offered(node, runtime, name, image, pin=pin)])
    except PrestowError:
        return False
    return proof.holds


def offered(node: Node, runtime: Runtime, name: str, image: Image, *, pin: bool = False, force: bool = False) -> Offer:
    """Return an image as a runtime is to know it; what we gave under its name before may be replaced."""
    before = _record(node, runtime, name)
    ours = frozenset[Digest]() if before is None else frozenset({before.digest})
    return Offer(name, image, pin, force, ours)


def _record(node: Node, runtime: Runtime, name: str) -> HandedOver | None:
    return node.hand_overs.find(name, runtime.runtime, str(runtime.address), runtime.namespace)


def _note(node: Node, runtime: Runtime, offer: Offer, given: Given | None, before: HandedOver | None) -> None:
    """Record what was given, if anything was; what we gave under this name before is not pinned by us any longer."""
    node.hand_overs.put(
        offer.name,
        runtime.runtime,
        str(runtime.address),
        runtime.namespace,
        digest=offer.image.target.digest,
        form="" if given is None else str(given.form),
        snapshotter=runtime.look().snapshotter,
        names=() if given is None else given.names,
        pinned=offer.pin,
        folders=runtime.folders,
    )
    if before is not None and before.pinned and not shared_names(node, before).intersection(before.names[:1]):
        runtime.unpin(before)


def shared_names(node: Node, but: HandedOver) -> frozenset[str]:
    """Return the names in a runtime that other images than one, or other names of it, have there by us, too."""
    there = (but.runtime, but.address, but.runtime_namespace)
    return frozenset(
        name
        for each in node.hand_overs.every()
        if (each.runtime, each.address, each.runtime_namespace) == there
        and (each.namespace, each.name) != (but.namespace, but.name)
        for name in each.names
    )


def _check(runtime: Runtime, proof: Proof) -> None:
    if not proof.holds:
        look = runtime.look()
        raise RuntimeFailedError(
            f"{printable(proof.name)} was handed over, but {look.runtime} {look.version} says: "
            f"{'; '.join(proof.faults)}"
        )


def _result(node: Node, runtime: Runtime, offer: Offer, proof: Proof, why: str) -> HandOver:
    look, record = runtime.look(), _record(node, runtime, offer.name)
    form = "" if record is None else record.form
    return HandOver(
        name=offer.name,
        digest=offer.image.target.digest,
        runtime=f"{look.runtime} {look.version}",
        namespace=look.namespace,
        snapshotter=look.snapshotter,
        form=form,
        why=why,
        pinned=proof.pinned,
        shared_bytes=shared_bytes(node.content, offer.image, form),
    )
