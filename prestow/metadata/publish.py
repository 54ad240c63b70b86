"""Names in the database, and in ``index.json`` for other tools: a change is committed first, and the file follows.

    changing_names    { rows, name_changes, names.log: fsync } in one transaction, which everybody waits for
    publish_names     index.json: the lines of names that changed since; names.lock is held, the database is not

    names.lock        held by whoever writes index.json; says up to which change that is written, and of which file

The transaction does the same whatever else the store has. The file is written by whoever changed a name, before he
ends, and with all that others changed meanwhile: of many at once most find that it is done. Who is killed in between
leaves it behind the database, until the next who changes a name, or puts the store in order.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from prestow.content.blobs import Blobs
from prestow.content.lock import FileLock
from prestow.errors import ExhaustedError, InvalidError, PrestowError, printable
from prestow.metadata.database import Cursor, Database, Row
from prestow.metadata.failure import damaged
from prestow.metadata.images import image_record
from prestow.metadata.layout_index import Key, Named, change_index, read_index, write_index
from prestow.metadata.names_log import Change, append, names_log, read
from prestow.metadata.namespace import qualified

_TIMEOUT = 120.0
_LAST = "SELECT ifnull(max(seq), 0) FROM name_changes"
_SINCE = """
    SELECT c.seq, c.namespace AS of_namespace, c.name AS of_name, i.*
    FROM (SELECT namespace, name, max(seq) AS seq FROM name_changes WHERE seq > ? GROUP BY namespace, name) AS c
    LEFT JOIN images AS i ON (i.namespace, i.name) = (c.namespace, c.name)
    ORDER BY c.seq
"""
_ALL = f"SELECT ({_LAST}) AS seq, i.* FROM (SELECT 1) LEFT JOIN images AS i"  # noqa: S608 - ours; of one moment
_FORM = 1


@dataclass(frozen=True, slots=True)
class _Published:
    """What is in ``index.json``.

    Attributes:
        seq: the last change that it has.
        file: which file that is, as the kernel tells it.
        form: of the file.
    """

    seq: int
    file: tuple[int, ...] | None
    form: int = _FORM

    @classmethod
    def read(cls, content: Blobs, *, replaced: bool = False) -> Self | None:
        """Return what was noted; None if nothing was or, unless ``replaced``, the file has been replaced since."""
        with suppress(OSError, ValueError, TypeError):
            found = cls(**json.loads(_lock(content).read_bytes()))
            same = found.file is not None and tuple(found.file) == _identity(content)
            if found.form == _FORM and (same or replaced):
                return found
        return None

    def write(self, content: Blobs) -> None:
        """Note it, if the disk allows; without it all of the file is written the next time."""
        with suppress(OSError):
            _lock(content).write_bytes(json.dumps(asdict(self)).encode())


@contextmanager
def changing_names(db: Database, content: Blobs) -> Iterator[Cursor]:
    """Yield a transaction in which names may change; afterwards call :func:`publish_names`.

    Raises:
        ExhaustedError: the disk is full; names can be removed all the same.
        StorageError: the disk or the database failed; nothing was changed.
    """
    with db.transaction() as cursor:
        before = _last(db)
        yield cursor
        if changes := db.records(_change, _SINCE, (before,)):
            published = _Published.read(content)
            anew = published is not None and published.seq >= before
            if anew:
                cursor.execute("DELETE FROM name_changes WHERE seq < ?", (before,))
            log = names_log(content.root)
            try:
                append(log, changes, anew=anew, durable=content.durable)
            except ExhaustedError:
                if any(change.image is not None for change in changes):
                    raise


def publish_names(db: Database, content: Blobs, *, whole: bool = False) -> None:
    """Bring ``index.json`` up to the database; call it outside of transactions, since it tells what is committed.

    Args:
        db: the names.
        content: where the file is.
        whole: whether to write all names, and not only those that changed.

    Raises:
        UnavailableError: others have been writing it all the time.
        StorageError: the disk failed, or the database is damaged: then the file stays, since it may know more.
    """
    with FileLock(_lock(content), timeout=_TIMEOUT, what="index.json"):
        published = None if whole else _Published.read(content)
        seq = None if published is None else _publish_changes(db, content, published)
        if seq is None:
            seq = _publish_all(db, content)
        if published is None or seq != published.seq:
            _Published(seq, _identity(content)).write(content)


def catch_up(db: Database, content: Blobs) -> None:
    """Finish what a dead process had not published; if nothing is left to publish, another tool's file stays as it is.

    Raises:
        UnavailableError: others have been writing it all the time.
        StorageError: the disk failed.
    """
    published = _Published.read(content, replaced=True)
    if (0 if published is None else published.seq) < _last(db):
        publish_names(db, content)


def listed_names(content: Blobs) -> tuple[list[Named], InvalidError | None]:
    """Return the names that the disk tells, and what is wrong with ``index.json`` if that makes no sense.

    Raises:
        StorageError: the disk does not give it.
    """
    names: dict[Key, Named | None] = {}
    unreadable: InvalidError | None = None
    try:
        names |= {(image.namespace, image.name): image for image in read_index(content.root)}
    except InvalidError as error:
        unreadable = error
    published = _Published.read(content)
    changes = read(names_log(content.root), after=-1 if published is None else published.seq)
    names |= {change.key: change.image for change in changes}
    return [image for image in names.values() if image is not None], unreadable


def _publish_changes(db: Database, content: Blobs, published: _Published) -> int | None:
    """Write what changed, and give the last change; None if all has to be written."""
    changes = db.records(_change, _SINCE, (published.seq,))
    if not changes:
        return published.seq
    targets = [change.image.target for change in changes if change.image is not None]
    if not all(content.has(target.digest, target.size) for target in targets):
        return None  # damage perhaps, about which the file knows better
    try:
        change_index(content.root, {change.key: change.image for change in changes}, durable=content.durable)
    except InvalidError:
        return None
    return changes[-1].seq


def _publish_all(db: Database, content: Blobs) -> int:
    """Write all names, and give the last change."""
    db.check_table("images")
    if wrong := next(contradicted(db, content), ""):
        raise damaged(db.path, wrong)
    rows = db.records(lambda row: (row["seq"], _named(row)), _ALL)
    write_index(content.root, [image for _, image in rows if image is not None], durable=content.durable)
    return int(rows[0][0])


def contradicted(db: Database, content: Blobs) -> Iterator[str]:
    """Return names that stand for what is not here, where ``index.json`` tells of something that is: it is right."""
    try:
        listed = {(entry.namespace, entry.name): entry.target for entry in read_index(content.root)}
    except PrestowError:
        return  # it tells nothing
    for image in db.records(image_record, "SELECT * FROM images ORDER BY namespace, name"):
        told, target = listed.get((image.namespace, image.name), image.target), image.target
        if told != target and content.has(told.digest, told.size) and not content.has(target.digest, target.size):
            name = printable(qualified(image.namespace, image.name), 400)
            yield f"{name} stands for {target.digest}, which is not here; index.json says {told.digest}, which is"


def _last(db: Database) -> int:
    return int(db.read(_LAST)[0][0])


def _change(row: Row) -> Change:
    return Change(row["seq"], (row["of_namespace"], row["of_name"]), _named(row))


def _named(row: Row) -> Named | None:
    if row["name"] is None:
        return None
    image = image_record(row)
    return Named(image.name, image.target, image.namespace, image.labels, image.created_at, image.updated_at)


def _lock(content: Blobs) -> Path:
    return content.root.parent / "names.lock"


def _identity(content: Blobs) -> tuple[int, ...] | None:
    try:
        found = os.lstat(content.root / "index.json")
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
