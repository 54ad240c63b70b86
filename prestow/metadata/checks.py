"""When fsck last looked at an image, and whether all of it was sound."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prestow.digest import Digest
from prestow.metadata.database import Database


@dataclass(frozen=True, slots=True)
class Check:
    """The last look of fsck at what a target leads to.

    Attributes:
        at: when, in seconds since the epoch.
        sound: whether nothing was damaged, or all of that is repaired.
    """

    at: float
    sound: bool


class Checks:
    """The looks of a metadata database, of all namespaces: content is there once for all."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.time) -> None:
        """Look into ``db``."""
        self._db = db
        self._clock = clock

    def put(self, found: Iterable[tuple[Digest, bool]]) -> None:
        """Note what fsck found now: targets, and whether each was sound."""
        now = self._clock()
        with self._db.transaction() as cursor:
            rows = [(str(target), now, sound) for target, sound in found]
            cursor.executemany("INSERT OR REPLACE INTO checks VALUES (?, ?, ?)", rows)
            cursor.execute(  # of targets that nothing names any more
                "DELETE FROM checks WHERE digest NOT IN"
                " (SELECT digest FROM images UNION SELECT digest FROM generations)"
            )

    def every(self) -> dict[Digest, Check]:
        """Return the last look at each target."""
        rows = self._db.read("SELECT * FROM checks")
        return {Digest.parse(row["digest"]): Check(row["at"], bool(row["sound"])) for row in rows}
