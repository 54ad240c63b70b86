"""Heal: a step that meets a blob that rotted on the disk has it made again, and is done again.

    layer       to quarantine, and fetched again from where the image is being pulled from
    diff blob   to quarantine, and decompressed again

Nothing is hashed unless a step fails in a way that a rotten blob explains, so this costs nothing as a rule; where all
blobs are sound, the image itself is to blame, and the failure stays what it was. A blob that was there when the step
began, and is another file now, had rotted too: another process has set it aside meanwhile.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from prestow.content.lock import FileLock
from prestow.content.store import Progress
from prestow.content.verify import verify as commit
from prestow.digest import Digest
from prestow.errors import ExhaustedError, InvalidError, MismatchError, NotFoundError
from prestow.layers.apply import apply
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Layer
from prestow.registry.blob import fetch_blob
from prestow.registry.source import Fetcher
from prestow.store.node import Node

_PATIENCE = 60.0
_T = TypeVar("_T")

_log = logging.getLogger(__name__)


def retry_with_sound_blobs(
    node: Node,
    layers: Sequence[Layer],
    reference: str | None,
    work: Callable[[], _T],
    credentials: str | None = None,
) -> _T:
    """Do a step; if it fails and a blob of its layers has rotted, make that again and do the step again.

    Args:
        node: the store.
        layers: what the step reads.
        reference: where their blobs can be fetched; None if nothing is to be fetched.
        work: the step.
        credentials: name of those for the registry of ``reference``.

    Raises:
        MismatchError: a blob rotted, is in quarantine now, and is not to be fetched.
        PrestowError: as ``work``, or as fetching and applying a layer.
    """
    before = _files(node, layers)
    try:
        return work()
    except (InvalidError, MismatchError, ExhaustedError):
        set_aside = set(_set_aside(node, before))
        now = _files(node, layers)
        rotten = {digest for digest in before if digest in set_aside or now.get(digest) != before[digest]}
        if not rotten:
            raise
    source = None if reference is None else node.source(reference, credentials)
    for layer in layers:
        _make_again(node, layer, source, rotten)
    return work()


def repair_lock(node: Node) -> FileLock:
    """Take the lock under which alone things are moved to quarantine.

    Raises:
        UnavailableError: another repair had it for a minute.
    """
    return FileLock(node.home / "repair.lock", timeout=_PATIENCE, what=f"the repair of {node.home}")


def refetch(source: Fetcher, node: Node, blob: Descriptor, *, progress: Progress | None = None) -> None:
    """Fetch a layer's blob again, and commit it; raises as :func:`fetch_blob`."""
    fetch_blob(source, node.content, blob, progress=progress)
    commit(node.content, blob)


def _files(node: Node, layers: Sequence[Layer]) -> dict[Digest, int]:
    """Return the inode of each blob of the layers that is here."""
    found = {}
    for digest in [digest for layer in layers for digest in (layer.descriptor.digest, layer.diff_id)]:
        with suppress(OSError):
            found[digest] = node.content.path(digest).lstat().st_ino
    return found


def _set_aside(node: Node, digests: Collection[Digest]) -> Iterator[Digest]:
    """Hash blobs, and move what rotted to quarantine."""
    with repair_lock(node):
        for digest in digests:
            try:
                node.content.check(digest)
            except NotFoundError:
                pass
            except MismatchError as error:
                _log.warning("blob %s is corrupt on disk; moved to quarantine, to be rebuilt", digest)
                node.content.quarantine(digest, str(error))
                yield digest


def _make_again(node: Node, layer: Layer, source: Fetcher | None, rotten: Collection[Digest]) -> None:
    """Make again what rotted of a layer, if a step has to find it: the blob only where there is no diff blob."""
    content, blob = node.content, layer.descriptor
    if not {blob.digest, layer.diff_id} & set(rotten) or content.has(layer.diff_id):
        return
    if not content.has(blob.digest, blob.size):
        if source is None:
            raise MismatchError(
                f"layer {layer.position + 1} of {layer.total}, {blob.digest}, was corrupt on disk, and is in "
                "quarantine now; pull the image again"
            )
        refetch(source, node, blob)
    if layer.diff_id in rotten and layer.diff_id != blob.digest:
        apply(content, layer, scans=node.scans, keep_blob=node.settings.keep_blobs)
