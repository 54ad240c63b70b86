"""The rows of one driver's snapshots, and the rules that they keep.

    key or name    one name space in each driver
    parent         committed, and stays as long as its children
    id             number of the folder, greater than the parent's
    diff ID        of a row that came from an image: its files can be made again from the content store

A row is written after the files that it names are durable, and goes before they do (see :mod:`.drivers.driver`).
"""

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, InvalidError, NotFoundError, PreconditionError, StorageError, printable
from prestow.metadata.database import Cursor, Database, Row
from prestow.metadata.failure import damaged
from prestow.metadata.soundness import require_sound
from prestow.snapshots.snapshotter import Info, Kind

_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)
_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]{64,}", re.ASCII)
_LINE = """
    WITH RECURSIVE line AS (
        SELECT *, 0 AS depth FROM snapshots WHERE driver = ? AND key = ?
        UNION ALL
        SELECT s.*, line.depth + 1 FROM snapshots AS s JOIN line ON s.driver = line.driver AND s.key = line.parent
    )
    SELECT * FROM line ORDER BY depth
"""

_SERVES = """
    WITH RECURSIVE above AS (
        SELECT key, kind FROM snapshots WHERE driver = ?1 AND parent = ?2 AND diff_id IS NULL
        UNION ALL
        SELECT s.key, s.kind FROM snapshots AS s JOIN above ON s.driver = ?1 AND s.parent = above.key
    )
    SELECT 1 FROM above WHERE kind != 'committed' LIMIT 1
"""


def check_key(key: str) -> None:
    """Refuse what cannot be a key or name that a user chooses.

    Raises:
        InvalidError: not 1 to 255 printable ASCII characters without spaces, or a digest: these name images' layers.
    """
    if not _KEY.fullmatch(key):
        raise InvalidError(f"snapshot key {printable(key)!r}: expected 1 to 255 printable ASCII characters, no spaces")
    if _DIGEST.fullmatch(key):
        raise InvalidError(f"snapshot key {printable(key)!r}: digests are reserved for chain IDs; choose another one")


def every_snapshot(database: Database) -> list[Info]:
    """Return the rows of all drivers, those of one driver together, parents before children."""
    return [_info(row) for row in database.read("SELECT * FROM snapshots ORDER BY driver, id")]


def keys_beginning(database: Database, drivers: Iterable[str], stem: str) -> list[str]:
    """Return the keys of some drivers that begin with a text, without looking at every row."""
    sql = "SELECT key FROM snapshots WHERE driver = ? AND key >= ? AND key < ?"
    after = stem[:-1] + chr(ord(stem[-1]) + 1)
    return [str(row["key"]) for driver in drivers for row in database.read(sql, (driver, stem, after))]


class Catalog:
    """Rows of one driver."""

    def __init__(self, database: Database, driver: str, *, clock: Callable[[], float] = time.time) -> None:
        """Use the rows of ``driver``; ``clock`` tells seconds since the epoch."""
        self.driver = driver
        self._database = database
        self._clock = clock

    def find(self, key: str) -> Info | None:
        """Return a row, or None."""
        rows = self._database.read("SELECT * FROM snapshots WHERE driver = ? AND key = ?", (self.driver, key))
        return _info(rows[0]) if rows else None

    def get(self, key: str) -> Info:
        """Return a row.

        Raises:
            NotFoundError: no such key or name.
        """
        return _known(self.find(key), key, self.driver)

    def walk(self) -> list[Info]:
        """Return all rows, parents before children."""
        rows = self._database.read("SELECT * FROM snapshots WHERE driver = ? ORDER BY id", (self.driver,))
        infos = [_info(row) for row in rows]
        keys = {info.key for info in infos}
        if lost := next((info for info in infos if info.parent is not None and info.parent not in keys), None):
            raise damaged(self._database.path, f"snapshot {lost.key} has a parent of which nothing is known")
        return infos

    def line(self, key: str) -> list[Info]:
        """Return a row and all below it, the row itself first.

        Raises:
            NotFoundError: no such key or name.
        """
        rows = self._database.read(_LINE, (self.driver, key))
        if not rows:
            raise _missing(key, self.driver)
        return [_info(row) for row in rows]

    def views(self, parent: str) -> int:
        """Count the views of a snapshot."""
        sql = "SELECT count(*) FROM snapshots WHERE driver = ? AND parent = ? AND kind = 'view'"
        return int(self._database.read(sql, (self.driver, parent))[0][0])

    def serves(self, key: str) -> bool:
        """Whether an active snapshot or a view stands on the image that has this chain ID."""
        return bool(self._database.read(_SERVES, (self.driver, key)))

    def require_sound(self) -> None:
        """Make sure that the rows are to be believed; raises as :func:`prestow.metadata.soundness.require_sound`."""
        require_sound(self._database)

    @contextmanager
    def change(self) -> Iterator["Change"]:
        """Change rows, all or none, durably; no other process changes any meanwhile."""
        with self._database.transaction() as cursor:
            yield Change(cursor, self.driver, self._clock())


class Change(NamedTuple):
    """A transaction on the rows of one driver; each method keeps the rules or raises."""

    cursor: Cursor
    driver: str
    now: float

    def find(self, key: str) -> Info | None:
        """Return a row, or None."""
        sql = "SELECT * FROM snapshots WHERE driver = ? AND key = ?"
        row = self.cursor.execute(sql, (self.driver, key)).fetchone()
        return None if row is None else _info(row)

    def walk(self) -> list[Info]:
        """Return all rows."""
        rows = self.cursor.execute("SELECT * FROM snapshots WHERE driver = ?", (self.driver,))
        return [_info(row) for row in rows]

    def like(self, info: Info) -> list[Info]:
        """Return the rows that have the key or the number of one that was."""
        sql = "SELECT * FROM snapshots WHERE driver = ? AND {} = ?"
        found = [
            self.cursor.execute(sql.format(column), (self.driver, value)).fetchall()
            for column, value in (
                ("key", info.key),
                ("id", info.id),
            )
        ]
        return [_info(row) for rows in found for row in rows]

    def add(
        self,
        key: str,
        kind: Kind,
        parent: str | None,
        *,
        diff_id: Digest | None = None,
        taken: Callable[[int], bool] = lambda _: False,
    ) -> Info:
        """Add a row on its parent; its number is greater than all others, and not one that is ``taken`` otherwise.

        Raises:
            AlreadyExistsError: the key is in use.
            NotFoundError: no such parent.
            PreconditionError: the parent is not committed.
        """
        if self.find(key):
            raise AlreadyExistsError(f"snapshot {key} exists already in driver {self.driver}")
        if parent is not None:
            check_parent(_known(self.find(parent), parent, self.driver))
        last = self.cursor.execute("SELECT max(id) FROM snapshots WHERE driver = ?", (self.driver,)).fetchone()[0]
        number = next(number for number in itertools.count(max(last or 0, 0) + 1) if not taken(number))
        info = Info(self.driver, key, kind, parent, number, self.now, diff_id)
        self.cursor.execute(
            "INSERT INTO snapshots (driver, key, kind, parent, id, diff_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self.driver, key, kind.value, parent, info.id, diff_id and str(diff_id), self.now),
        )
        return info

    def commit(self, name: str, key: str) -> None:
        """Name the row of an active snapshot, and make it committed.

        Raises:
            NotFoundError: no such key.
            AlreadyExistsError: the name is in use.
            PreconditionError: not an active snapshot.
        """
        info = _known(self.find(key), key, self.driver)
        if info.kind is not Kind.ACTIVE:
            raise PreconditionError(f"snapshot {key} is {info.kind.value}; only an active one can be committed")
        if self.find(name):
            raise AlreadyExistsError(f"snapshot {name} exists already in driver {self.driver}")
        self.cursor.execute(
            "UPDATE snapshots SET key = ?, kind = 'committed', created_at = ? WHERE driver = ? AND key = ?",
            (name, self.now, self.driver, key),
        )

    def remove(self, key: str) -> Info:
        """Remove a row, and tell what it was.

        Raises:
            NotFoundError: no such key or name.
            PreconditionError: it has children.
        """
        info = _known(self.find(key), key, self.driver)
        sql = "SELECT key FROM snapshots WHERE driver = ? AND parent = ? ORDER BY id LIMIT 1"
        child = self.cursor.execute(sql, (self.driver, key)).fetchone()
        if child is not None:
            raise PreconditionError(f"snapshot {key} is the parent of {child['key']}; remove that one first")
        self.cursor.execute("DELETE FROM snapshots WHERE driver = ? AND key = ?", (self.driver, key))
        return info


def check_parent(parent: Info) -> None:
    """Refuse a parent that still changes.

    Raises:
        PreconditionError: it is not committed.
    """
    if parent.kind is not Kind.COMMITTED:
        raise PreconditionError(f"snapshot {parent.key} is {parent.kind.value}; only a committed one can be a parent")


def _known(info: Info | None, key: str, driver: str) -> Info:
    if info is None:
        raise _missing(key, driver)
    return info


def _missing(key: str, driver: str) -> NotFoundError:
    return NotFoundError(f"no snapshot {printable(key)} in driver {driver}; `prestow snapshots` lists them")


def _info(row: Row) -> Info:
    diff_id = row["diff_id"]
    return Info(
        driver=row["driver"],
        key=row["key"],
        kind=_kind(row),
        parent=row["parent"],
        id=row["id"],
        created_at=row["created_at"],
        diff_id=None if diff_id is None else Digest(diff_id),
    )


def _kind(row: Row) -> Kind:
    try:
        return Kind(row["kind"])
    except ValueError:
        raise StorageError(
            f"snapshot {printable(row['key'])}: its row is corrupt; run `prestow fsck --all --repair` to rebuild it"
        ) from None
