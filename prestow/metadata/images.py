"""Images: names for manifests and indexes in the content store."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from prestow.digest import Digest
from prestow.errors import NotFoundError, printable
from prestow.metadata.database import Database, Row
from prestow.oci.descriptor import Descriptor


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A name.

    Attributes:
        name: a reference in its canonical form.
        target: the manifest or index that it stands for.
        created_at: when the name came up, in seconds since the epoch.
        updated_at: when it came to stand for this target.
    """

    name: str
    target: Descriptor
    created_at: float
    updated_at: float


class Images:
    """The names in a metadata database."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.time) -> None:
        """Look into ``db``."""
        self._db = db
        self._clock = clock

    def get(self, name: str) -> ImageRecord:
        """Look a name up.

        Raises:
            NotFoundError: no such name.
        """
        rows = self._db.read("SELECT * FROM images WHERE name = ?", (name,))
        if not rows:
            raise NotFoundError(f"image {printable(name)} is not in the store; pull it")
        return _record(rows[0])

    def list(self) -> tuple[ImageRecord, ...]:
        """Give all names, sorted."""
        return tuple(_record(row) for row in self._db.read("SELECT * FROM images ORDER BY name"))

    def put(self, name: str, target: Descriptor) -> ImageRecord:
        """Make a name stand for ``target``; nothing changes if it does already."""
        with self._db.transaction() as cursor:
            cursor.execute(
                "INSERT INTO images (name, digest, media_type, size, created_at, updated_at)"
                " VALUES (:name, :digest, :media_type, :size, :now, :now)"
                " ON CONFLICT (name) DO UPDATE"
                " SET digest = :digest, media_type = :media_type, size = :size, updated_at = :now"
                " WHERE (digest, media_type, size) != (:digest, :media_type, :size)",
                {
                    "name": name,
                    "digest": str(target.digest),
                    "media_type": target.media_type,
                    "size": target.size,
                    "now": self._clock(),
                },
            )
            return self.get(name)

    def remove(self, name: str) -> ImageRecord:
        """Forget a name, and give what it stood for.

        Raises:
            NotFoundError: no such name.
        """
        with self._db.transaction() as cursor:
            record = self.get(name)
            cursor.execute("DELETE FROM images WHERE name = ?", (name,))
            return record


def _record(row: Row) -> ImageRecord:
    target = Descriptor(row["media_type"], Digest.parse(row["digest"]), row["size"])
    return ImageRecord(row["name"], target, row["created_at"], row["updated_at"])
