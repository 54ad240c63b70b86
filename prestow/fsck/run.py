"""The step *examine*: verify what is stored, of one image or of the whole store, and repair it if that is wanted.

a name       everything that is stored of the image
no name      the store's own books, which are names, rows and the disk; and then every image, of all namespaces
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prestow.containers.process import Orphan, orphans_if_known
from prestow.content.store import Progress
from prestow.fsck.affected import affected, damaged_chains
from prestow.fsck.database import KIND as DATABASE
from prestow.fsck.image import verify
from prestow.fsck.repair import Repaired, repair
from prestow.fsck.store import inventory, joined, put_in_order, put_names_in_order
from prestow.metadata.images import ImageRecord
from prestow.metadata.namespace import qualified
from prestow.store.node import Node


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found, and what became of it.

    Attributes:
        images: image by image.
        store: of the store's own books; None if one image was asked for.
        orphaned: containers of which it is not damage that their runs were killed.
    """

    images: tuple[Repaired, ...]
    store: Repaired | None
    orphaned: tuple[Orphan, ...] = ()

    @property
    def every(self) -> tuple[Repaired, ...]:
        """All of it, the store's books last."""
        return self.images if self.store is None else (*self.images, self.store)

    @property
    def damaged(self) -> int:
        """How much is damaged still."""
        return sum(len(each.left) for each in self.every)


def examine(
    node: Node, name: str | None, *, mend: bool = False, progress: Callable[[str], Progress] | None = None
) -> Examined:
    """Verify an image, or everything; with ``mend`` make right what is damaged.

    What dead processes left is put in order before, so that it is not taken for damage.

    Args:
        node: the store.
        name: of the image; None for all of them, and for the store's books.
        mend: whether to repair.
        progress: gives for each name, empty for the books, what is told of bytes as they are read.

    Raises:
        NotFoundError: no such name.
        UnavailableError: another repair has been under way all the time.
        StorageError: the disk or the database failed.
    """
    node.recover(whole=name is None)
    orphaned = orphans_if_known(node)
    if name is not None:
        return Examined(_images(node, (node.image(name),), mend=mend, progress=progress), None, orphaned)
    books = _for(progress, "")
    if not mend:
        found = inventory(node, progress=books)
        store = Repaired(found, left=found.damaged)
        return Examined(_images(node, _records(node, store), mend=False, progress=progress), store, orphaned)
    first = put_names_in_order(node)
    images = _images(node, _records(node, first), mend=True, progress=progress)
    # Only now: what a damaged image consists of was not known before, and is nothing to clear away.
    rest = put_in_order(node, unsure=any(image.left for image in images), progress=books)
    return Examined(images, joined(first, rest), orphaned)


def _records(node: Node, store: Repaired) -> tuple[ImageRecord, ...]:
    """Return the names, if there is a database to believe them."""
    broken = any(damage.kind == DATABASE for damage in store.left)
    return () if broken else node.images.every()


def _images(
    node: Node, records: Iterable[ImageRecord], *, mend: bool, progress: Callable[[str], Progress] | None
) -> tuple[Repaired, ...]:
    return tuple(
        _image(node, record, mend=mend, progress=_for(progress, qualified(record.namespace, record.name)))
        for record in records
    )


def _image(node: Node, record: ImageRecord, *, mend: bool, progress: Progress | None) -> Repaired:
    if mend:
        return repair(node, record, progress=progress)
    found = verify(node, record, progress=progress)
    told = affected(node, damaged_chains(node, found.damaged), repaired=False) if found.damaged else ()
    return Repaired(found, left=found.damaged, containers=tuple(told))


def _for(progress: Callable[[str], Progress] | None, name: str) -> Progress | None:
    return None if progress is None else progress(name)
