"""Removing images: by name, or by digest; what is removed is names, and only those of one namespace.

    NAME               that name; others of the same image stay
    sha256:HEX…        the name of the image whose digest begins so; if it has several, all of them or none

A name that a container was made of is not removed unless that is insisted on. Nothing would break: the container
keeps its manifest and its snapshot. But the next one could not be made, and docker's users know it so.
"""

from collections.abc import Collection, Sequence

from prestow.content.blobs import Blobs
from prestow.errors import PreconditionError
from prestow.metadata.containers import Containers
from prestow.metadata.database import Database
from prestow.metadata.images import ImageRecord, Images, is_digest
from prestow.metadata.namespace import DEFAULT
from prestow.metadata.tag import untag_chosen


def remove_images(
    db: Database,
    content: Blobs,
    wanted: Sequence[str],
    *,
    namespace: str = DEFAULT,
    every_name: bool = False,
    force: bool = False,
) -> tuple[ImageRecord, ...]:
    """Forget images, all that are wanted or none, and give what they were; the bytes go with the next prune.

    Args:
        db: the names.
        content: where ``index.json`` is.
        wanted: names as people write them, and digests or how they begin.
        namespace: whose names.
        every_name: whether a digest stands for all names of its image, where it has several.
        force: whether to forget a name that a container was made of.

    Raises:
        InvalidError: not a reference, or a digest's beginning that several images share.
        NotFoundError: no such image.
        PreconditionError: the image of a digest has several names, or a container was made of the name.
    """

    def choose() -> Collection[str]:
        images = Images(db, namespace)
        found = {record.name: record for text in wanted for record in _chosen(images, text, every_name=every_name)}
        if not force:
            _refuse_used(Containers(db, namespace), found)
        return found

    return untag_chosen(db, content, choose, namespace=namespace)


def containers_of(containers: Containers, names: Collection[str]) -> tuple[str, ...]:
    """Return the IDs of the containers that were made of these names."""
    return tuple(sorted(record.id for name in names for record in containers.made_of(name)))


def _chosen(images: Images, text: str, *, every_name: bool) -> tuple[ImageRecord, ...]:
    if every_name and is_digest(text):
        return images.by_digest(text)
    return (images.only(text, "remove them by name, or all of them with --all"),)


def _refuse_used(containers: Containers, names: Collection[str]) -> None:
    if used := containers_of(containers, names):
        raise PreconditionError(
            f"containers were made of it: {', '.join(used)}; remove them first, or the name alone with --force"
        )
