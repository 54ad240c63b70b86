"""Whether a database is to be believed, asked before anything goes because no row of it leads there.

SQLite finds out by itself only about some damage: rows that a flipped bit took away are simply not there. So whoever
removes or overwrites what rows do not name lets it look through the file first, and through what it cannot know.
"""

from collections.abc import Iterator

from prestow.digest import Digest
from prestow.errors import PrestowError, printable
from prestow.metadata.database import Database
from prestow.metadata.failure import damaged

_DIGESTS = (
    ("images", "digest"),
    ("generations", "digest"),
    ("containers", "manifest_digest"),
    ("snapshots", "diff_id"),
)


def faults(db: Database) -> list[str]:
    """Return what is damaged in a database; nothing if all is well.

    Raises:
        StorageError: the disk does not give it.
    """
    return db.check() or list(_nonsense(db))


def require_sound(db: Database) -> None:
    """Make sure that a database is to be believed.

    Raises:
        StorageError: it is damaged, or the disk does not give it.
    """
    if found := faults(db):
        raise damaged(db.path, found[0])


def _nonsense(db: Database) -> Iterator[str]:
    for table, column in _DIGESTS:
        for (text,) in db.read(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"):  # noqa: S608 - ours
            try:
                Digest.parse(text)
            except PrestowError:
                yield f"a row of {table} has no digest, but {printable(text)}"
