"""What a store has, as the report of its host."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from prestow import __version__
from prestow.content.plan import LayerState, state_of
from prestow.digest import Digest
from prestow.errors import PrestowError, printable
from prestow.fleet.lock import short
from prestow.fleet.report import Report, ReportedFailure, ReportedImage, ReportedMember
from prestow.handover.in_use import in_use as ask_runtime
from prestow.metadata.checks import Check, Checks
from prestow.metadata.images import ImageRecord
from prestow.oci.artifact import Artifact
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image
from prestow.oci.lookup import find_artifact, find_image
from prestow.platforms import host
from prestow.space.together import free_for_images
from prestow.store.node import Node

_MINUTE = 60
_ERROR, _IMAGE = 1900, 1100  # characters, of the most that a report may have


def take_stock(node: Node) -> Report:
    """Return the report of this host, of the images of its namespace.

    An image counts as verified from the last fsck that found it sound, or from when the oldest of its blobs came: each
    of them was compared with its digest then.

    Raises:
        StorageError: the disk or the database failed.
    """
    checks, layers = Checks(node.database).every(), set[str]()
    for target in _targets(node):
        image = _find(node, target)
        if isinstance(image, Image):
            applied = (layer for layer in image.layers if state_of(layer, node.content) is LayerState.APPLIED)
            layers |= {short(layer.diff_id) for layer in applied}
    disk, used = os.statvfs(node.home), _in_use(node)
    ended = node.sets.generations()
    latest = {each.set: each.generation for each in reversed(ended)}
    return Report(
        host=node.host,
        store=node.store_id,
        at=datetime.now(UTC),
        interval=node.settings.report_minutes * _MINUTE,
        version=__version__,
        platform=str(host().normalised()),
        generations=latest,
        images=tuple(_reported(node, record, checks.get(record.target.digest), used) for record in node.images.list()),
        members=tuple(
            ReportedMember(set=each.set, name=each.name, digest=str(each.digest), generation=each.generation)
            for each in node.sets.images()
        ),
        complete={of: tuple(each.generation for each in ended if each.set == of and each.complete) for of in latest},
        layers=frozenset(layers),
        free_bytes=free_for_images(node),
        disk_bytes=disk.f_blocks * disk.f_frsize,
        rate=node.sets.rate(),
        failures=tuple(
            ReportedFailure(image=printable(each.image, _IMAGE), error=printable(each.error, _ERROR), at=_time(each.at))
            for each in node.sets.failures()
        ),
    )


def _targets(node: Node) -> Iterator[Descriptor]:
    """Yield what names stand for, and stood for before: layers of an earlier image need not be fetched either."""
    targets = [record.target for record in node.images.every()]
    targets += [generation.target for generation in node.images.generations()]
    yield from {target.digest: target for target in targets}.values()


def _in_use(node: Node) -> dict[str, tuple[bool, bool]]:
    """Return whether its runtime uses and pins each image that was handed over; neither if it does not answer."""
    here = {record.name for record in node.images.list()}
    given: dict[str, set[str]] = {}
    for each in node.hand_overs.list():
        if each.name in here:
            given.setdefault(each.runtime, set()).add(each.name)
    found: dict[str, tuple[bool, bool]] = {}
    for runtime, names in given.items():
        found |= dict.fromkeys(names, (False, False))
        with suppress(PrestowError):
            answers = ask_runtime(node, sorted(names), runtime)[1]
            found |= {each.name: (each.in_use, each.pinned) for each in answers}
    return found


def _reported(
    node: Node, record: ImageRecord, check: Check | None, used: Mapping[str, tuple[bool, bool]]
) -> ReportedImage:
    image = _find(node, record.target)
    came = [*_times(node, image)] if image is not None else [record.updated_at]
    damaged = check is not None and not check.sound and check.at >= max(came)
    verified = check.at if check is not None and check.sound else 0.0
    in_use, pinned = used.get(record.name, (None, False))
    return ReportedImage(
        name=record.name,
        digest=str(record.target.digest),
        verified=_time(max(verified, min(came))),
        complete=image is not None and not damaged and _is_complete(node, image),
        bytes=0 if image is None else sum(_sizes(image).values()),
        in_use=in_use,
        pinned=pinned,
    )


def _find(node: Node, target: Descriptor) -> Image | Artifact | None:
    """Return an image for this host's platform, or an artifact, as far as it is readable."""
    with suppress(PrestowError):
        return find_image(node.content, target, host())
    with suppress(PrestowError):
        return find_artifact(node.content, target)
    return None


def _times(node: Node, image: Image | Artifact) -> Iterator[float]:
    """Yield when each blob that is here of an image was committed."""
    parts: Iterable[Digest] = (
        [blob.descriptor.digest for blob in image.blobs] if isinstance(image, Artifact)
        else [image.config.digest, *(layer.diff_id for layer in image.layers)]
    )  # fmt: skip
    for digest in (image.target.digest, *parts):
        with suppress(PrestowError):
            yield node.content.info(digest).created_at


def _is_complete(node: Node, image: Image | Artifact) -> bool:
    if isinstance(image, Artifact):
        return all(node.content.has(blob.descriptor.digest, blob.descriptor.size) for blob in image.blobs)
    applied = all(state_of(layer, node.content) is LayerState.APPLIED for layer in image.layers)
    return applied and any(snapshotter.committed(image.chain_id) for snapshotter in node.snapshotters)


def _sizes(image: Image | Artifact) -> dict[Digest, int]:
    """Return the compressed size of each layer."""
    blobs = image.blobs if isinstance(image, Artifact) else image.layers
    return {blob.descriptor.digest: blob.descriptor.size for blob in blobs}


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
