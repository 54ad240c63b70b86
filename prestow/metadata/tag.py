"""The step *tag*: a name comes to stand for an image; and its reverse.

The name is the last thing that a pull writes, so that whoever finds a name finds a complete image. ``index.json`` is
replaced within the transaction: a crash between the two leaves a name in the file that the database lacks, and the
step, run again, finishes it; never the other way round.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from prestow.content.blobs import Blobs
from prestow.content.layout_index import Named, read_index, write_index
from prestow.errors import ExhaustedError, InvalidError, PreconditionError, PrestowError, printable
from prestow.metadata.database import Cursor, Database
from prestow.metadata.failure import damaged
from prestow.metadata.images import ImageRecord, Images
from prestow.metadata.labels import SOURCE, dump_labels
from prestow.namespace import DEFAULT, qualified
from prestow.oci.descriptor import Descriptor
from prestow.reference import Reference


def tag(
    db: Database,
    content: Blobs,
    name: str,
    target: Descriptor,
    *,
    source: str | None = None,
    namespace: str = DEFAULT,
) -> ImageRecord:
    """Make ``name`` stand for ``target``, in the database and in ``index.json``; success if it does already.

    Args:
        db: the database.
        content: where the target is.
        name: the name.
        target: a manifest or an index.
        source: where it was pulled from, for the label ``prestow.source``; none if not known.
        namespace: whose name it is.

    Raises:
        InvalidError: the name has a digest in it, which is not that of the target.
        PreconditionError: the target is not in the content store.
    """
    promised = Reference.parse(name).digest
    if promised not in (None, target.digest):
        raise InvalidError(
            f"tagging {printable(name)}: it would stand for {target.digest}; choose a name without digest"
        )
    with db.transaction():
        if not content.has(target.digest, target.size):
            raise PreconditionError(f"tagging {printable(name)}: {target.digest} is not in the content store; fetch it")
        images = Images(db, namespace)
        record = images.put(name, target)
        if record.labels.get(SOURCE) != source:
            record = images.label(name, {SOURCE: source})
        publish_names(db, content)
        return record


def untag(db: Database, content: Blobs, *names: str, namespace: str = DEFAULT) -> tuple[ImageRecord, ...]:
    """Forget ``names``, in the database and in ``index.json``; the bytes stay until the next garbage collection.

    Raises:
        NotFoundError: no such name; none was forgotten.
    """
    db.make_room()
    with db.transaction():
        records = tuple(Images(db, namespace).remove(name) for name in names)
        with suppress(ExhaustedError):  # on a full disk forgetting must work; the garbage collection writes it again
            publish_names(db, content)
        return records


def label(
    db: Database, content: Blobs, name: str, changes: Mapping[str, str | None], *, namespace: str = DEFAULT
) -> ImageRecord:
    """Change the labels of ``name``, in the database and in ``index.json``; None takes one away.

    Raises:
        NotFoundError: no such name.
        InvalidError: a label breaks the rules of ``labels``.
    """
    with db.transaction():
        record = Images(db, namespace).label(name, changes)
        publish_names(db, content)
        return record


def publish_names(db: Database, content: Blobs) -> None:
    """Bring ``index.json`` up to the database; call it within a transaction, so that two cannot overtake each other.

    Raises:
        StorageError: the disk failed, or the database is damaged: then the file stays, since it may know more.
    """
    db.check_table("images")
    if wrong := next(contradicted(db, content), ""):
        raise damaged(db.path, wrong)
    images = (
        Named(each.name, each.target, each.namespace, each.labels, each.created_at, each.updated_at)
        for each in Images(db).every()
    )
    write_index(content.root, images, durable=content.durable)


def contradicted(db: Database, content: Blobs) -> Iterator[str]:
    """Tell of names that stand for what is not here, where ``index.json`` tells of something that is: it is right."""
    try:
        listed = {(entry.namespace, entry.name): entry.target for entry in read_index(content.root)}
    except PrestowError:
        return  # it tells nothing
    for image in Images(db).every():
        told, target = listed.get((image.namespace, image.name), image.target), image.target
        if told != target and content.has(told.digest, told.size) and not content.has(target.digest, target.size):
            name = printable(qualified(image.namespace, image.name), 400)
            yield f"{name} stands for {target.digest}, which is not here; index.json says {told.digest}, which is"


def recover_names(content: Blobs) -> Callable[[Cursor], None]:
    """Give the ``on_create`` of a new database: names that ``index.json`` still has, if their targets are here.

    So a lost database costs snapshots, which are made again, and not the images. They count as used now: when they
    were is told nowhere else, and no rule of retention is to forget them for that.
    """

    def fill(cursor: Cursor) -> None:
        cursor.executemany(
            "INSERT OR REPLACE INTO images"
            " (namespace, name, digest, media_type, size, labels, created_at, updated_at, used_at)"
            " VALUES (?, ?, ?, ?, ?, ?, coalesce(?, unixepoch()), coalesce(?, unixepoch()), unixepoch())",
            [
                (
                    image.namespace,
                    image.name,
                    str(image.target.digest),
                    image.target.media_type,
                    image.target.size,
                    dump_labels(image.labels),
                    image.created_at,
                    image.updated_at,
                )
                for image in read_index(content.root)
                if content.has(image.target.digest, image.target.size)
            ],
        )

    return fill
