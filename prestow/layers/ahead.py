"""Decompress a layer while it is being fetched.

    fetch_layer ──▶ ingest layer-<digest> ──reads along──▶ ingest diff-<diff ID>, scanned, hashed, sealed
    verify          commits the one
    apply                                                  commits the other

Nothing of it is visible before the steps *verify* and *apply* have compared digests. It is only ever a head start:
where it is not possible, or fails, nothing is lost, and *apply* does the work from the layer's blob and says what is
wrong with it.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

from prestow.cancellation import Token, current
from prestow.content.refs import diff_ref, layer_ref
from prestow.content.store import Store, silent
from prestow.errors import AlreadyExistsError, PrestowError, StorageError
from prestow.layers.apply import unpack
from prestow.layers.growing import Growing
from prestow.layers.scans import Scans
from prestow.oci.image import Layer
from prestow.oci.mediatypes import layer_compression

_log = logging.getLogger(__name__)


@contextmanager
def ahead(content: Store, layer: Layer, *, scans: Scans) -> Iterator[Callable[[int], None]]:
    """Decompress a layer for as long as the block fetches it into ``layer-<digest>``.

    Gives a function that the block calls with the offset up to which the bytes are there, after they were written. When
    the block ends, so has the decompression.

    Raises:
        CancelledError: the work is to end.
    """
    if layer_compression(layer.descriptor.media_type) == "none" or content.has(layer.diff_id):
        yield silent
        return
    source = Growing(lambda: _bytes_of(content, layer), layer.descriptor.size)

    token = current() or Token()
    thread = threading.Thread(target=_unpack, args=(content, layer, source, scans, token), daemon=True)
    thread.start()
    complete = False
    try:
        yield source.reach
        complete = True
    finally:
        source.finish(complete=complete)
        thread.join()
    token.check()


def _bytes_of(content: Store, layer: Layer) -> BinaryIO:
    """Open what comes of a layer; another process may have committed it by now."""
    with suppress(StorageError):
        return content.tail(layer_ref(layer.descriptor.digest))
    return content.open(layer.descriptor.digest)


def _unpack(content: Store, layer: Layer, source: Growing, scans: Scans, token: Token) -> None:
    """Fill and seal the diff ingest, or leave none."""
    diff_id = layer.diff_id
    if not source.begins():  # another process fetches it, and fills the ingest meanwhile: do not stand in its way
        return
    try:
        with content.writer(diff_ref(diff_id), algorithm=diff_id.algorithm, digest=diff_id, timeout=0) as writer:
            if writer.sealed:
                return
            try:
                scanned = unpack(
                    writer,
                    cast("BinaryIO", source),
                    layer,
                    limits=scans.limits_of(layer.diff_id),
                    progress=lambda _: token.check(),
                )
                proven = writer.seal() == layer.diff_id
            except BaseException:
                writer.abort()
                raise
            if not proven:
                writer.abort()
                return
        scans.keep(layer.diff_id, layer.position, scanned)
    except AlreadyExistsError:
        pass
    except PrestowError as error:
        _log.debug("layer %s was not decompressed ahead: %s", layer.descriptor.digest.short, error)
    finally:
        source.close()
