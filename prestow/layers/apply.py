"""The step *apply*: a layer's blob becomes its diff blob, the uncompressed tar whose digest is the diff ID.

    blob ──decompress──▶ ingest diff-<diff ID> ──digest = diff ID──▶ diff blob
                             └──scan──▶ entries ──▶ the layer's tree

Nothing is extracted. The bytes are hashed, written and scanned in one pass, and committed only when all of it held:
decompression complete to the last byte, every header in order, every name and link one that an image may have. An
ingest that a crash left is started again, since decompression cannot go on in the middle. As a rule the step finds
the work done: ``ahead.py`` decompresses while the layer is fetched, and leaves a sealed ingest.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from prestow.content.refs import diff_ref, layer_ref
from prestow.content.store import Progress, Store, Writer, silent
from prestow.digest import Digest
from prestow.errors import (
    AlreadyExistsError,
    InvalidError,
    MismatchError,
    NotFoundError,
    PreconditionError,
    PrestowError,
    UnavailableError,
)
from prestow.layers.compression import decompressed
from prestow.layers.limits import Limits
from prestow.layers.overlap import Overlapped
from prestow.layers.scans import Scanned, Scans, scan
from prestow.oci.image import Layer
from prestow.oci.mediatypes import layer_compression


@dataclass(frozen=True, slots=True)
class Applied:
    """A layer that is ready to be merged.

    Attributes:
        diff_id: name of its diff blob.
        size: bytes of the diff blob.
        entries: members of the tar.
        dropped: extended attributes that an image may not set, and how often.
    """

    diff_id: Digest
    size: int
    entries: int
    dropped: tuple[tuple[str, int], ...] = ()


def apply(
    content: Store, layer: Layer, *, scans: Scans, keep_blob: bool = True, progress: Progress | None = None
) -> Applied:
    """Make the diff blob of a layer, or look through the one that is here.

    Args:
        content: where the layer's blob is, and its diff blob will be.
        layer: the layer.
        scans: where the layer's tree is kept for the step that merges it; they know what a layer may be at most.
        keep_blob: whether the blob stays when its diff blob is committed; who reads it meanwhile can go on.
        progress: told of the blob's bytes as they are consumed; of none if they were decompressed ahead.

    Raises:
        NotFoundError: the layer's blob is not here; fetch it first.
        InvalidError: the blob is corrupt, or not compressed as its media type says, or its tar is not in order.
        MismatchError: it decompresses to something else than the diff ID says.
        ExhaustedError: a limit was passed, or the disk is full.
        UnavailableError: another process has been applying the same layer all the time.
        UnsupportedError: a media type that cannot be unpacked here.
    """
    compression = layer_compression(layer.descriptor.media_type)
    if compression != "none" and layer.descriptor.digest == layer.diff_id:
        raise InvalidError(
            f"layer {layer.position + 1} of {layer.total}, {layer.descriptor.digest}: its media type says compression "
            f"{compression}, its diff ID that it is not compressed; the image is broken, build it again"
        )
    applied = _made(content, layer, scans, progress)
    if not keep_blob and layer.descriptor.digest != layer.diff_id:
        with suppress(NotFoundError):  # it went before
            content.delete(layer.descriptor.digest)
    return applied


def _made(content: Store, layer: Layer, scans: Scans, progress: Progress | None) -> Applied:
    if content.has(layer.diff_id) or _commit_ahead(content, layer):
        return _applied(content, layer, scans.get(layer.diff_id, layer.position))
    writer = _writer(content, layer)
    if writer is not None and writer.sealed:  # while we waited, by the process that fetched it
        writer.close()
        writer = None if _commit_ahead(content, layer) else _writer(content, layer)
    if writer is None:
        return _applied(content, layer, scans.get(layer.diff_id, layer.position))
    with writer, content.open(layer.descriptor.digest) as blob:
        try:
            scanned = unpack(writer, blob, layer, limits=scans.limits_of(layer.diff_id), progress=progress)
            _commit(writer, layer)
        except PrestowError:
            writer.abort()
            raise
    scans.keep(layer.diff_id, layer.position, scanned)
    return _applied(content, layer, scanned)


def _writer(content: Store, layer: Layer) -> Writer | None:
    """Wait to be the one who fills the diff ingest; None if the diff blob came meanwhile."""
    with suppress(AlreadyExistsError):
        return content.writer(diff_ref(layer.diff_id), algorithm=layer.diff_id.algorithm, digest=layer.diff_id)
    return None


def unpack(
    writer: Writer, blob: BinaryIO, layer: Layer, *, limits: Limits, progress: Progress | None = None
) -> Scanned:
    """Decompress a blob into the writer of its diff ingest, and scan it on the way; commits nothing.

    Raises:
        InvalidError: the blob is corrupt, or not compressed as its media type says, or its tar is not in order.
        ExhaustedError: a limit was passed, or the disk is full.
    """
    writer.truncate()
    compression = layer_compression(layer.descriptor.media_type)
    pieces = _reported(decompressed(blob, compression, limits=limits), blob, progress or silent)
    with Overlapped(pieces) as made:
        passage = _Passage(iter(made), writer.write)
        scanned = scan(passage, layer.position, limits)
        passage.drain()
    return scanned


def _commit_ahead(content: Store, layer: Layer) -> bool:
    """Commit what was decompressed while the layer was fetched, if that is all there and right."""
    status = content.status(diff_ref(layer.diff_id))
    if status is None or not status.sealed:
        return False
    with suppress(MismatchError, PreconditionError):  # it was damaged, or another process took it up: start again
        content.commit_ingest(diff_ref(layer.diff_id), None, layer.diff_id)
        return True
    return False


def settle(content: Store, layer: Layer) -> None:
    """Commit what was decompressed ahead, and drop the download that it came from, for who keeps no blobs.

    So a blob takes room only while it is fetched. Nothing happens where the head start was not possible.

    Raises:
        ExhaustedError: the disk is full.
        StorageError: it failed.
    """
    if layer.diff_id != layer.descriptor.digest and (content.has(layer.diff_id) or _commit_ahead(content, layer)):
        with suppress(UnavailableError):  # another process wants it
            content.abort(layer_ref(layer.descriptor.digest))


def _applied(content: Store, layer: Layer, scanned: Scanned) -> Applied:
    return Applied(layer.diff_id, content.info(layer.diff_id).size, scanned.entries, scanned.tree.dropped)


def _commit(writer: Writer, layer: Layer) -> None:
    try:
        writer.commit(None, layer.diff_id)
    except MismatchError as error:
        raise MismatchError(
            f"layer {layer.position + 1} of {layer.total}, {layer.descriptor.digest}, does not decompress to its "
            f"diff ID {layer.diff_id}: the image is broken; build it again"
        ) from error


def _reported(pieces: Iterator[bytes], blob: BinaryIO, progress: Progress) -> Iterator[bytes]:
    reported = 0
    for piece in itertools.chain(pieces, [b""]):
        if (position := blob.tell()) > reported:
            progress(position - reported)
            reported = position
        if piece:
            yield piece


class _Passage:
    """A stream on its way to a sink, read by the tar reader as it passes: what is skipped has been passed on too."""

    def __init__(self, pieces: Iterator[bytes], sink: Callable[[bytes], None]) -> None:
        self._pieces = pieces
        self._sink = sink
        self._piece = b""
        self._start = 0  # of the piece, in the stream
        self._wanted = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move forward, or to the end."""
        self._wanted = self.drain() if whence else offset
        return self._wanted

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        while self._wanted >= self._start + len(self._piece):
            if not self._advance():
                return b""
        at = self._wanted - self._start
        data = self._piece[at : at + size]
        while len(data) < size and self._advance():
            data += self._piece[: size - len(data)]
        self._wanted += len(data)
        return data

    def drain(self) -> int:
        """Pass on all that is left, and give the length of the whole stream."""
        while self._advance():
            pass
        return self._start

    def _advance(self) -> bool:
        self._start += len(self._piece)
        self._piece = next(self._pieces, b"")
        if self._piece:
            self._sink(self._piece)
        return bool(self._piece)
