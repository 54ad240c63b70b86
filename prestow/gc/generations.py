"""Retention of an image set: images of earlier generations leave the host, and what else uses them stays.

An image that leaves its set loses its lease. Its name goes as well, unless another set has it, a container is made of
it, it has the label ``prestow.keep=true``, or it is a person's: it was there before a set brought it, or was pulled or
tagged by another command since. The bytes go with the next collection.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial

from prestow.digest import Digest
from prestow.errors import NotFoundError
from prestow.gc.retention import KEEP
from prestow.gc.survey import last_used
from prestow.metadata.images import ImageRecord
from prestow.metadata.labels import SOURCE
from prestow.metadata.sets import SetGeneration, SetImage
from prestow.metadata.tag import untag_chosen
from prestow.store.opened import OpenedStore


def superseded(
    images: Iterable[SetImage],
    ended: Iterable[SetGeneration],
    wanted: Collection[tuple[str, Digest]],
    *,
    generations: int,
    is_unused: Callable[[SetImage], bool],
) -> Iterator[SetImage]:
    """Yield the images that leave a set: a rule, without a look at anything.

    Args:
        images: those of the set.
        ended: generations of the set, the one that ended last first: that is the present one.
        wanted: name and digest of each image of the present generation; these stay.
        generations: how many of the complete generations stay, the present one included.
        is_unused: whether an image goes although its generation stays.
    """
    staying = [each.generation for each in ended if each.complete][:generations]
    for image in images:
        is_wanted = (image.name, image.digest) in wanted
        if not is_wanted and (image.generation not in staying[1:] or is_unused(image)):
            yield image


def retire(
    store: OpenedStore,
    of: str,
    wanted: Collection[tuple[str, Digest]],
    *,
    generations: int,
    unused_for: float | None,
) -> tuple[SetImage, ...]:
    """Let the images of earlier generations leave a set, and return them.

    Args:
        store: the store.
        of: name of the set.
        wanted: name and digest of each image of the present generation.
        generations: how many stay, the present one included.
        unused_for: seconds without use after which an image of an earlier generation goes anyway; None: never.

    Raises:
        StorageError: the disk or the database failed.
    """

    def is_unused(image: SetImage) -> bool:
        record = _record(store, image.name)
        used = 0.0 if record is None or record.target.digest != image.digest else last_used(record)
        return unused_for is not None and time.time() - used > unused_for

    ended = [each for each in store.sets.generations() if each.set == of]
    gone = tuple(superseded(store.sets.images(of), ended, wanted, generations=generations, is_unused=is_unused))
    for image in gone:
        store.sets.drop(image)
        untag_chosen(store.database, store.content, partial(_names, store, image), namespace=store.namespace)
    return gone


def _names(store: OpenedStore, image: SetImage) -> Iterator[str]:
    """Yield the name that goes with an image, if it does."""
    record = _record(store, image.name)
    if record is None or record.target.digest != image.digest or not image.ours:
        return
    by_set = record.labels.get(SOURCE) == (image.name if "@" in image.name else f"{image.name}@{image.digest}")
    used = any(container.image == image.name for container in store.containers.list())
    others = any(other.name == image.name for other in store.sets.images())
    if by_set and not (used or others or record.labels.get(KEEP) == "true"):
        yield image.name


def _record(store: OpenedStore, name: str) -> ImageRecord | None:
    with suppress(NotFoundError):
        return store.images.get(name)
    return None
