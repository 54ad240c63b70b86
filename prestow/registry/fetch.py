"""The steps *fetch_manifest* and *fetch_layer*: from descriptors to bytes in the content store.

    fetch_manifest   index ─▶ manifest ─▶ config      small: read whole, verified, committed as blobs
    fetch_layer      layer                            large: streamed into the ingest layer-<digest>, then sealed

Nothing that is here is fetched again, and of a layer (``blob``) nothing that came before a connection broke. The layer
is hashed on its way, and verified by the step that commits it.
"""

import logging

from prestow.content.plan import replacement
from prestow.content.refs import document_ref
from prestow.content.store import Progress, Store
from prestow.digest import Digest
from prestow.errors import (
    AlreadyExistsError,
    ExhaustedError,
    MismatchError,
    NotFoundError,
    UnavailableError,
)
from prestow.layers.ahead import ahead
from prestow.layers.apply import settle
from prestow.layers.scans import Scans
from prestow.oci.descriptor import Descriptor
from prestow.oci.document import MAX_DOCUMENT
from prestow.oci.image import Image, Layer, assemble
from prestow.oci.image_config import ImageConfig
from prestow.oci.walk import descend
from prestow.platforms import Platform, choose
from prestow.registry.blob import Fetched, fetch_blob
from prestow.registry.source import Fetcher

_log = logging.getLogger(__name__)


def fetch_manifest(
    source: Fetcher, content: Store, target: Descriptor, platform: Platform, *, max_layers: int = 500
) -> Image:
    """Fetch what describes an image for one platform, and give the image, if it has at most ``max_layers`` layers.

    Raises:
        NotFoundError: the registry lacks a document, or the index has no image for the platform.
        InvalidError: a document breaks the specification.
        UnsupportedError: not a container image.
        MismatchError: bytes other than the descriptor's.
        ExhaustedError: a document is too large, there are too many layers, or the disk is full.
        UnauthorizedError: who we are may not have it.
        UnavailableError: no server answers.
    """
    descriptor, manifest = descend(
        target,
        lambda document: fetch_document(source, content, "manifest", document),
        lambda index: index.select(platform),
    )
    manifest.check_image()
    if len(manifest.layers) > max_layers:
        raise ExhaustedError(
            f"image {target.digest.short}: {len(manifest.layers)} layers, more than the {max_layers} that are allowed; "
            "raise max_layers to allow it"
        )
    config = ImageConfig.parse(fetch_document(source, content, "config", manifest.config))
    if descriptor.platform is None and choose(platform, [config.platform]) is None:
        raise NotFoundError(f"image {target.digest.short} is for {config.platform} only, not for {platform}")
    return assemble(target, manifest, config, selected=descriptor)


def fetch_layer(
    source: Fetcher,
    content: Store,
    layer: Layer,
    *,
    scans: Scans,
    keep_blob: bool = True,
    progress: Progress | None = None,
) -> Fetched:
    """Fetch a layer as :func:`fetch_blob`, and decompress it meanwhile.

    Args:
        source: where from.
        content: where to.
        layer: the layer.
        scans: where the layer's tree is kept for the steps that come.
        keep_blob: whether the blob is wanted once its diff blob is here; if not, it may go before *verify*.
        progress: told of bytes as they come.

    Raises:
        CancelledError: the work is to end.
        As :func:`fetch_blob`.
    """
    unless = replacement(layer, keep_blobs=keep_blob)
    with ahead(content, layer, scans=scans) as arrived:
        fetched = fetch_blob(source, content, layer.descriptor, unless=unless, progress=progress, arrived=arrived)
    if not keep_blob:
        settle(content, layer)
    return fetched


def fetch_document(source: Fetcher, content: Store, kind: str, descriptor: Descriptor) -> bytes:
    """Return a document, from the content store or else from the source, and then into the store.

    Whoever wants it meanwhile waits, and finds it.

    Args:
        source: where from.
        content: where to.
        kind: what it is, the first word of its ingest.
        descriptor: the document.

    Raises:
        As :func:`fetch_manifest`.
    """
    digest, size = descriptor.digest, descriptor.size
    if size > MAX_DOCUMENT:
        raise ExhaustedError(f"{kind} {digest}: {size} bytes; documents are limited to {MAX_DOCUMENT} bytes")
    stored = _stored(content, descriptor)
    if stored is not None:
        return stored
    try:
        writer = content.writer(document_ref(kind, digest), algorithm=digest.algorithm, total=size, digest=digest)
    except AlreadyExistsError:
        return content.read(digest)
    with writer:
        try:
            raw = _read(source, kind, descriptor)
        except BaseException:
            writer.abort()
            raise
        if writer.offset:
            writer.truncate()
        writer.write(raw)
        writer.commit(size, digest)
    return raw


def _stored(content: Store, descriptor: Descriptor) -> bytes | None:
    """Return a document that is here; one that has rotted on the disk goes to quarantine, to be fetched again."""
    digest = descriptor.digest
    try:
        raw = content.read(digest)
    except NotFoundError:
        return None
    except MismatchError as error:
        _log.warning("blob %s is damaged and will be fetched again", digest)
        content.quarantine(digest, str(error))
        return None
    if len(raw) != descriptor.size:
        raise MismatchError(f"{digest}: the descriptor says {descriptor.size} bytes, there are {len(raw)}")
    return raw


def _read(source: Fetcher, kind: str, descriptor: Descriptor) -> bytes:
    """Return a document's bytes, verified, from the first server that has the right ones."""
    while True:
        try:
            return _read_once(source, kind, descriptor)
        except MismatchError:
            if not source.reject(descriptor):
                raise


def _read_once(source: Fetcher, kind: str, descriptor: Descriptor) -> bytes:
    digest, size = descriptor.digest, descriptor.size
    raw = bytearray()
    with source.fetch(descriptor) as chunks:
        for chunk in chunks:
            raw += chunk
            if len(raw) > size:
                raise MismatchError(f"{kind} {digest}: expected {size} bytes, found more")
    if len(raw) < size:
        raise UnavailableError(f"{kind} {digest}: ended after {len(raw)} of {size} bytes")
    found = Digest.of(bytes(raw), digest.algorithm)
    if found != digest:
        raise MismatchError(f"{kind}: expected {digest}, found {found}")
    return bytes(raw)
