"""An order of the fleet, carried out on its host: images by digest, leases, names, retention, report.

    digests ▶ manifests ▶ do all fit? ─▶ pull, lease, name ─┐
                             │           pull, lease, name ─┼▶ images of earlier generations leave ▶ report
                             ▼ Refused   pull, lease, name ─┘

A name moves as soon as its own image is complete, so that an image that fails keeps no other from its use, and a killed
run leaves nothing to be named later. Images leave only when all of the present generation are here.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from flows.fanout import Options, PrepullError, conclude, in_parallel
from flows.forms.results import Prepulled, PrepulledImage
from prestow.digest import Digest
from prestow.errors import InvalidError, PreconditionError, PrestowError, RefusedError, printable
from prestow.fleet.order import Order
from prestow.gc.generations import retire
from prestow.gc.prune import Choice
from prestow.handover.undo import undo
from prestow.oci.artifact import Artifact
from prestow.oci.image import Image
from prestow.oci.lookup import find_artifact, find_image
from prestow.platforms import platform_or_host
from prestow.reference import LayoutReference, Reference, parse_source
from prestow.registry.artifact import fetch_artifact
from prestow.registry.fetch import fetch_manifest
from prestow.registry.resolve import resolve
from prestow.space.together import check_together
from prestow.store.node import Node
from tasks.sweep import sweep

_MANIFESTS = 8  # that are looked up at the same time
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image of an order.

    Attributes:
        reference: as it is pulled, with its digest.
        digest: of the target.
        name: which it gets here: the reference without digest; with it, if there is no tag.
        ours: whether no person had the name before a set brought it.
    """

    reference: Reference
    digest: Digest
    name: str
    ours: bool


def deliver(references: Sequence[str], order: Order, options: Options) -> Prepulled:
    """Bring the images of an order here, and let those of earlier generations go.

    Raises:
        PreconditionError: the order is for another host.
        InvalidError: an image has no digest, or two have one name; or as :meth:`Options.open`.
        NotFoundError: as there.
        RefusedError: they do not fit on the disk; no layer was fetched.
        PrepullError: some are not here; all were tried.
        CancelledError: the run was cancelled.
    """
    node = options.open()
    if order.host != node.host:
        raise PreconditionError(
            f"this run is for host {order.host}, and {node.host} took it; start the worker there with "
            f"`prestow node up --name {node.host}`, which takes the runs of its own queue only"
        )
    if order.hand_over.is_wanted:
        options = replace(options, hand_over=order.hand_over.runtime, pin=order.hand_over.pin)
    wanted = _wanted(node, references)
    _check_space(node, order, wanted, options)
    began = time.monotonic()
    images = in_parallel(node, wanted, partial(_bring, node, order, options), options.parallel)
    result = Prepulled(node.host, images)
    if fetched := sum(image.fetched_bytes for image in images):
        node.sets.fetch(fetched, time.monotonic() - began)
    node.sets.end(order.set, order.generation, complete=not result.failed)
    if not result.failed:
        _retire(node, order, wanted)
    conclude(node, order.set, result)
    return result


def _wanted(node: Node, references: Sequence[str]) -> list[Wanted]:
    """Check the images of an order, each named once."""
    brought = {image.name for image in node.sets.images() if image.ours}
    persons = {record.name for record in node.images.list()} - brought
    found: dict[str, Wanted] = {}
    for text in dict.fromkeys(references):
        reference = parse_source(text)
        if isinstance(reference, LayoutReference) or reference.digest is None:
            raise InvalidError(
                f"image {printable(text)}: expected name[:tag]@sha256:…, since a fleet pulls by digest; "
                "lock the set with `prestow fleet lock`"
            )
        name = str(reference) if reference.tag is None else f"{reference.name}:{reference.tag}"
        if name in found:
            raise InvalidError(f"image {printable(name)} has two digests in one order; lock the set again")
        found[name] = Wanted(reference, reference.digest, name, name not in persons)
    return [*found.values()]


def _check_space(node: Node, order: Order, wanted: Sequence[Wanted], options: Options) -> None:
    """Refuse images that do not fit together; what cannot be looked up is left to its pull, which fails by itself."""

    def look_up(each: Wanted) -> Image | Artifact | None:
        with suppress(PrestowError):
            source = node.source(str(each.reference), options.credentials)
            target = resolve(source, node.content, each.reference)
            fetch = fetch_manifest if options.unpack else fetch_artifact
            return fetch(source, node.content, target, platform_or_host(options.platform))
        return None

    with node.lease(f"order of {order.set}") as lease:
        node.leases.add(lease, "content", [each.digest for each in wanted])
        found = in_parallel(node, wanted, look_up, _MANIFESTS)
        try:
            images = [each for each in found if each is not None]
            check_together(node, images, options.driver, reserve=order.free_bytes)
        except RefusedError as error:
            with suppress(PrepullError):
                conclude(node, order.set, _refused(node, wanted, str(error)))
            raise


def _refused(node: Node, wanted: Sequence[Wanted], why: str) -> Prepulled:
    """Return the result of an order that was refused: the images that are not here by their names."""
    here = {(record.name, record.target.digest) for record in node.images.list()}
    images = (
        PrepulledImage(
            str(each.reference), each.name, each.digest, 0, None if (each.name, each.digest) in here else why
        )
        for each in wanted
    )
    return Prepulled(node.host, tuple(images))


def _bring(node: Node, order: Order, options: Options, each: Wanted) -> PrepulledImage:
    """Pull an image under a lease of its set, which stays when the image is complete."""
    rows = node.sets.images(order.set)
    before = next((row.lease for row in rows if (row.name, row.digest) == (each.name, each.digest)), None)
    lease = before or node.leases.create(f"image set {order.set}", node.settings.lease_hours * _HOUR).id
    stays = False
    try:
        node.leases.add(lease, "content", [each.digest])
        node.sets.put(order.set, order.generation, each.name, each.digest, ours=each.ours, lease=lease)
        result = options.pull(str(each.reference), each.name)
        if result.error is None and order.pin:
            node.protect(lease, _image(node, options, each))
            node.leases.pin(lease)
        stays = order.pin and (result.error is None or before is not None)
    except PrestowError as error:
        result = PrepulledImage(str(each.reference), None, None, 0, str(error))
    finally:
        if not stays:
            node.leases.delete(lease)
    return result


def _image(node: Node, options: Options, each: Wanted) -> Image | Artifact:
    target = node.images.get(each.name).target
    if options.unpack:
        return find_image(node.content, target, platform_or_host(options.platform))
    return find_artifact(node.content, target)


def _retire(node: Node, order: Order, wanted: Sequence[Wanted]) -> None:
    """Let images of earlier generations leave the set and the runtime, and free what nothing else holds then."""
    gone = retire(
        node,
        order.set,
        {(each.name, each.digest) for each in wanted},
        generations=order.generations,
        unused_for=order.unused_seconds,
    )
    if gone:
        names = {image.name for image in gone} - {record.name for record in node.images.list()}
        with suppress(PrestowError):  # a runtime that is not there keeps what it has
            undo(node, [each.name for each in node.hand_overs.list() if each.name in names])
        with suppress(PrestowError):  # its task says so
            sweep(str(node.home), Choice(), False)  # noqa: FBT003 - a step's parameters are positional
