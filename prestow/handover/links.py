"""The links that a runtime has to files of the store: which there are, and new ones where a file was made again.

Removing a file here that a runtime has a link to frees nothing, and does the runtime no harm: it has a name of its own
for the same bytes. For that very reason it would keep bytes that rotted; so a repair gives it the new file.
"""

import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from prestow.content.blobs import Blobs
from prestow.content.disk import sync_folder, translated
from prestow.handover.runtime import Form
from prestow.metadata.handed_over import HandedOver
from prestow.oci.image import Image

_PATTERNS = ("blobs/*/*", "snapshots/*/*.erofs")
"""Where a content store and a snapshotter of containerd have files that may be links to ours."""


def shared_bytes(content: Blobs, image: Image, form: str) -> int:
    """Return the bytes of an image's layers that are there once for both, each file once.

    Args:
        content: our blobs, some of which may not be there.
        image: the image.
        form: in which a runtime has it; of mounted images that is all that the mount reads, of others what has links.
    """
    found: dict[int, int] = {}
    for layer in image.layers:
        for digest in (layer.descriptor.digest, layer.diff_id):
            with suppress(OSError):
                status = os.lstat(content.path(digest))
                if status.st_nlink > 1 or (form == Form.MOUNTED and digest == layer.diff_id):
                    found[status.st_ino] = status.st_size
    return sum(found.values())


def inode_of(path: Path) -> tuple[int, int] | None:
    """Return what a link is known by: device and inode; None if there is no file."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def replace_links(handed_over: Iterable[HandedOver], renewed: Mapping[tuple[int, int], Path]) -> list[Path]:
    """Let runtimes have the files that were made again, where they have links to what was there before.

    Whoever has an old file open or mounted keeps that.

    Args:
        handed_over: what runtimes were given.
        renewed: the new file, by device and inode of the old one.

    Returns:
        The links that were replaced.

    Raises:
        StorageError: a link cannot be made.
    """
    folders = {folder for each in handed_over for folder in each.folders}
    replaced = []
    for path in [path for folder in folders for pattern in _PATTERNS for path in folder.glob(pattern)]:
        old = inode_of(path)
        source = None if old is None else renewed.get(old)
        if source is None or not source.exists():
            continue
        with translated(f"replacing {path}"):
            new = path.with_name(f".prestow-{secrets.token_hex(8)}")
            os.link(source, new)
            new.replace(path)
            sync_folder(path.parent)
        replaced.append(path)
    return replaced
