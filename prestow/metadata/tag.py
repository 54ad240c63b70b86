"""The step *tag*: a name comes to stand for an image; and its reverse.

The name is the last thing that a pull writes, so that whoever finds a name finds a complete image. ``index.json``
follows when that is committed (see :mod:`.publish`): of a crash between the two nothing is lost, and the next step that
changes a name, or the same one run again, finishes it.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from prestow.content.blobs import Blobs
from prestow.errors import ExhaustedError, InvalidError, NotFoundError, PreconditionError, printable
from prestow.metadata.database import Cursor, Database
from prestow.metadata.images import ImageRecord, Images
from prestow.metadata.labels import SOURCE, dump_labels
from prestow.metadata.namespace import DEFAULT
from prestow.metadata.publish import changing_names, listed_names, publish_names
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
    with changing_names(db, content):
        if not content.has(target.digest, target.size):
            raise PreconditionError(f"tagging {printable(name)}: {target.digest} is not in the content store; fetch it")
        images = Images(db, namespace)
        record = images.put(name, target)
        if record.labels.get(SOURCE) != source:
            record = images.label(name, {SOURCE: source})
    publish_names(db, content)
    return record


def is_tagged(images: Images, content: Blobs, name: str, target: Descriptor, *, source: str | None) -> bool:
    """Whether a name points to a target that is here, and says that it came from ``source``."""
    try:
        record = images.get(name)
    except NotFoundError:
        return False
    same = record.target.digest == target.digest and record.labels.get(SOURCE) == source
    return same and content.has(target.digest, target.size)


def untag(db: Database, content: Blobs, *names: str, namespace: str = DEFAULT) -> tuple[ImageRecord, ...]:
    """Forget ``names``, in the database and in ``index.json``; the bytes stay until the next garbage collection.

    Raises:
        NotFoundError: no such name; none was forgotten.
    """
    return untag_chosen(db, content, lambda: names, namespace=namespace)


def untag_chosen(
    db: Database, content: Blobs, choose: Callable[[], Iterable[str]], *, namespace: str = DEFAULT
) -> tuple[ImageRecord, ...]:
    """Forget the names that ``choose`` gives, asked when no other process can change any; see :func:`untag`."""
    db.make_room()
    with changing_names(db, content):
        records = tuple(Images(db, namespace).remove(name) for name in choose())
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
    with changing_names(db, content):
        record = Images(db, namespace).label(name, changes)
    publish_names(db, content)
    return record


def recover_names(content: Blobs) -> Callable[[Cursor], None]:
    """Return the ``on_create`` of a new database: names that the disk still tells, if their targets are here.

    So a lost database costs snapshots, which are made again, and not the images. They count as used now: when they
    were is told nowhere else, and no rule of retention is to forget them for that. An ``index.json`` that tells nothing
    is an error, but of what ``names.log`` tells nothing is lost then.
    """

    def fill(cursor: Cursor) -> None:
        names, unreadable = listed_names(content)
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
                for image in names
                if content.has(image.target.digest, image.target.size)
            ],
        )
        if unreadable is not None:
            raise unreadable

    return fill
