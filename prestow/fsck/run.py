"""The step *fsck*: verify what is stored, of one image or of the whole store, and repair it if that is wanted.

a name       everything that is stored of the image
no name      the store's own books, which are names, rows and the disk; and then every image, of all namespaces
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from prestow.containers.process import Orphan, orphans_if_known
from prestow.content.store import Progress
from prestow.errors import ExhaustedError, StorageError
from prestow.fsck.affected import affected, damaged_chains
from prestow.fsck.image import fsck_image
from prestow.fsck.repair import RepairResult, repair_image
from prestow.fsck.store import fsck_store, joined, repair_names, repair_store
from prestow.metadata.checks import Checks
from prestow.metadata.images import ImageRecord
from prestow.metadata.namespace import qualified
from prestow.snapshots.damage import DamageKind
from prestow.store.node import Node


@dataclass(frozen=True, slots=True)
class FsckResult:
    """What was found, and what became of it.

    Attributes:
        images: image by image.
        store: of the store's own books; None if one image was asked for.
        orphaned: containers of which it is not damage that their runs were killed.
    """

    images: tuple[RepairResult, ...]
    store: RepairResult | None
    orphaned: tuple[Orphan, ...] = ()

    @property
    def every(self) -> tuple[RepairResult, ...]:
        """All of it, the store's books last."""
        return self.images if self.store is None else (*self.images, self.store)

    @property
    def damaged(self) -> int:
        """How much is damaged still."""
        return sum(len(each.left) for each in self.every)


def fsck(
    node: Node,
    name: str | None,
    *,
    repair: bool = False,
    progress: Callable[[str], Progress] | None = None,
    credentials: str | None = None,
) -> FsckResult:
    """Verify an image, or everything; with ``repair`` make right what is damaged.

    What dead processes left is put in order before, so that it is not taken for damage.

    Args:
        node: the store.
        name: of the image; None for all of them, and for the store's books.
        repair: whether to repair.
        progress: gives for each name, empty for the books, what is told of bytes as they are read.
        credentials: name of those for a repair to fetch with; they must say which registry they are for, since images
            may have come from others.

    Raises:
        NotFoundError: no such name, nor such credentials.
        InvalidError: the credentials are for any registry.
        UnavailableError: another repair has been under way all the time.
        StorageError: the disk or the database failed.
    """
    if credentials:
        node.sources.check_named(credentials, bound=True)
    repair_one = partial(repair_image, credentials=credentials) if repair else None
    node.recover(whole=name is None)
    orphaned = orphans_if_known(node)
    if name is not None:
        return FsckResult(_images(node, (node.image(name),), repair_one, progress), None, orphaned)
    books = _for(progress, "")
    if not repair:
        found = fsck_store(node, progress=books)
        store = RepairResult(found, left=found.damaged)
        return FsckResult(_images(node, _records(node, store), None, progress), store, orphaned)
    first = repair_names(node)
    images = _images(node, _records(node, first), repair_one, progress)
    # Only now: what a damaged image consists of was not known before, and is nothing to clear away.
    rest = repair_store(node, unsure=any(image.left for image in images), progress=books)
    return FsckResult(images, joined(first, rest), orphaned)


def _records(node: Node, store: RepairResult) -> tuple[ImageRecord, ...]:
    """Return the names, if there is a database to believe them."""
    broken = any(damage.kind is DamageKind.DATABASE for damage in store.left)
    return () if broken else node.images.every()


def _images(
    node: Node,
    records: Sequence[ImageRecord],
    repair: Callable[..., RepairResult] | None,
    progress: Callable[[str], Progress] | None,
) -> tuple[RepairResult, ...]:
    results: list[RepairResult] = []
    try:
        for record in records:
            shown = _for(progress, qualified(record.namespace, record.name))
            results.append((repair or _report)(node, record, progress=shown))
    finally:
        found = [(record.target.digest, not result.left) for record, result in zip(records, results, strict=False)]
        with suppress(ExhaustedError, StorageError):  # the disk is full or read-only; what was found is shown anyway
            Checks(node.database).put(found)
    return tuple(results)


def _report(node: Node, record: ImageRecord, *, progress: Progress | None) -> RepairResult:
    found = fsck_image(node, record, progress=progress)
    told = affected(node, damaged_chains(node, found.damaged), repaired=False) if found.damaged else ()
    return RepairResult(found, left=found.damaged, containers=tuple(told))


def _for(progress: Callable[[str], Progress] | None, name: str) -> Progress | None:
    return None if progress is None else progress(name)
