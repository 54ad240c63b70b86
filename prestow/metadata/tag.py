"""The step *tag*: a name comes to stand for an image; and its reverse.

The name is the last thing that a pull writes, so that whoever finds a name finds a complete image. ``index.json`` is
replaced within the transaction: a crash between the two leaves a name in the file that the database lacks, and the
step, run again, finishes it; never the other way round.
"""

from collections.abc import Callable
from contextlib import suppress

from prestow.content.blobs import Blobs
from prestow.content.layout_index import read_index, write_index
from prestow.errors import ExhaustedError, PreconditionError, printable
from prestow.metadata.database import Cursor, Database
from prestow.metadata.images import ImageRecord, Images
from prestow.oci.descriptor import Descriptor


def tag(db: Database, content: Blobs, name: str, target: Descriptor) -> ImageRecord:
    """Make ``name`` stand for ``target``, in the database and in ``index.json``; success if it does already.

    Raises:
        PreconditionError: the target is not in the content store.
    """
    with db.transaction():
        if not content.has(target.digest, target.size):
            raise PreconditionError(f"tagging {printable(name)}: {target.digest} is not in the content store; fetch it")
        record = Images(db).put(name, target)
        publish_names(db, content)
        return record


def untag(db: Database, content: Blobs, name: str) -> ImageRecord:
    """Forget ``name``, in the database and in ``index.json``; the bytes stay until the next garbage collection.

    Raises:
        NotFoundError: no such name.
    """
    db.make_room()
    with db.transaction():
        record = Images(db).remove(name)
        with suppress(ExhaustedError):  # on a full disk forgetting must work; the garbage collection writes it again
            publish_names(db, content)
        return record


def publish_names(db: Database, content: Blobs) -> None:
    """Bring ``index.json`` up to the database; call it within a transaction, so that two cannot overtake each other."""
    images = ((image.name, image.target) for image in Images(db).list())
    write_index(content.root, images, durable=content.durable)


def recover_names(content: Blobs) -> Callable[[Cursor], None]:
    """Give the ``on_create`` of a new database: names that ``index.json`` still has, if their targets are here.

    So a lost database costs snapshots, which are made again, and not the images.
    """

    def fill(cursor: Cursor) -> None:
        cursor.executemany(
            "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, unixepoch(), unixepoch())",
            [
                (name, str(target.digest), target.media_type, target.size)
                for name, target in read_index(content.root)
                if content.has(target.digest, target.size)
            ],
        )

    return fill
