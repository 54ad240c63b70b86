"""The steps *fetch_manifest* and *fetch_layer*: from descriptors to bytes in the content store.

    fetch_manifest   index ─▶ manifest ─▶ config      small: read whole, verified, committed as blobs
    fetch_layer      layer                            large: streamed into the ingest layer-<digest>, then sealed

Nothing that is here is fetched again. A layer whose connection breaks goes on where it broke, within one call a few
times while there is progress, and in the next call from what the ingest has. The layer is hashed on its way and
verified by the step that commits it; reading stops at the first byte too many.
"""

import logging
from dataclasses import dataclass

from prestow.content.plan import replacement
from prestow.content.refs import document_ref, layer_ref
from prestow.content.store import Progress, Store, Writer, silent
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
from prestow.registry.source import Fetcher

_log = logging.getLogger(__name__)

_RESUMES = 5
_GOOD_PROGRESS = 16 << 20  # bytes after which the count of resumes begins anew


@dataclass(frozen=True, slots=True)
class Fetched:
    """A layer that is here, as a blob or as a sealed ingest.

    Attributes:
        ref: name of its ingest.
        size: its bytes.
        fetched_bytes: how many of them this call fetched.
    """

    ref: str
    size: int
    fetched_bytes: int


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
    with ahead(content, layer, scans=scans, progress=progress or silent) as arrived:
        fetched = fetch_blob(source, content, layer.descriptor, unless=unless, progress=arrived)
    if not keep_blob:
        settle(content, layer)
    return fetched


def fetch_blob(
    source: Fetcher,
    content: Store,
    descriptor: Descriptor,
    *,
    unless: Digest | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Fetch a layer's blob into the ingest ``layer-<digest>`` and seal it; nothing to do if it is here.

    Args:
        source: where from.
        content: where to.
        descriptor: the layer.
        unless: a blob that makes it needless, if that is here.
        progress: told of bytes as they come.

    Raises:
        NotFoundError: the registry lacks it.
        UnauthorizedError: who we are may not have it.
        UnavailableError: the connection broke too often; what came is kept, the next call resumes there.
        MismatchError: there are more or fewer bytes than the descriptor says; they are dropped.
        InvalidError: the registry's answer breaks a rule.
        ExhaustedError: the disk is full.
    """
    digest, size = descriptor.digest, descriptor.size
    ref = layer_ref(digest)
    if unless is not None and content.has(unless):
        return Fetched(ref, size, 0)
    try:
        writer = content.writer(ref, algorithm=digest.algorithm, total=size, digest=digest)
    except AlreadyExistsError:
        return Fetched(ref, size, 0)
    with writer:
        if writer.sealed and writer.offset == size:
            return Fetched(ref, size, 0)
        if writer.offset > size:
            writer.truncate()
        before, fetched = writer.offset, 0
        while not _sealed(source, writer, descriptor, progress or silent):
            fetched += writer.offset
            writer.truncate()  # the bytes were a mirror's, which is set aside: the next server is asked for all of them
        return Fetched(ref, size, fetched + size - before)


def _sealed(source: Fetcher, writer: Writer, descriptor: Descriptor, progress: Progress) -> bool:
    """Fetch and seal an ingest; False if it holds a mirror's bytes that are not the blob's."""
    try:
        _complete(source, writer, descriptor, progress)
    except MismatchError:
        if source.reject(descriptor):
            return False
        writer.abort()
        raise
    return writer.seal() == descriptor.digest or not source.reject(descriptor)


def _complete(source: Fetcher, writer: Writer, descriptor: Descriptor, progress: Progress) -> None:
    """Fetch what the ingest lacks, going on after a broken connection while that leads anywhere."""
    resumes, mark = _RESUMES, writer.offset
    while writer.offset < descriptor.size:
        before = writer.offset
        try:
            _append(source, writer, descriptor, progress)
        except UnavailableError as error:
            if writer.offset - mark >= _GOOD_PROGRESS:
                resumes, mark = _RESUMES, writer.offset
            if writer.offset == before or resumes == 0:
                raise
            resumes -= 1
            _log.info(
                "layer %s: resumes at %d of %d: %s", descriptor.digest.short, writer.offset, descriptor.size, error
            )


def _append(source: Fetcher, writer: Writer, descriptor: Descriptor, progress: Progress) -> None:
    """Fetch from the ingest's end on, until the bytes end."""
    size = descriptor.size
    with source.fetch(descriptor, writer.offset) as chunks:
        for chunk in chunks:
            if writer.offset + len(chunk) > size:
                raise MismatchError(f"layer {descriptor.digest}: expected {size} bytes, found more")
            writer.write(chunk)
            progress(len(chunk))
    if writer.offset < size:
        raise UnavailableError(f"layer {descriptor.digest}: ended after {writer.offset} of {size} bytes")


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
