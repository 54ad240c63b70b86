"""Images: names for manifests and indexes in the content store, each in a namespace."""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from prestow.digest import Digest
from prestow.errors import InvalidError, NotFoundError, PreconditionError, printable
from prestow.metadata.database import Cursor, Database, Row
from prestow.metadata.labels import SOURCE, changed, dump_labels, load_labels
from prestow.metadata.namespace import DEFAULT
from prestow.oci.descriptor import Descriptor

_DIGEST = r"sha(?:256:[0-9a-f]{4,64}|512:[0-9a-f]{4,128})"  # compiled when first used
_ALMOST = r"(?:sha(?:256|512):)?[0-9A-Fa-f]{2,128}"
_HINT = "`prestow images` lists what is, `prestow pull` fetches it"
_DIGEST_HINT = "a digest is written sha256: and then four or more of its hex digits, in small letters"

_MINUTE = 60.0


class ImageRecord(NamedTuple):
    """A name.

    Attributes:
        namespace: whose name it is.
        name: a reference in its canonical form.
        target: the manifest or index that it stands for.
        created_at: when the name came up, in seconds since the epoch.
        updated_at: when it came to stand for this target.
        used_at: when it was last pulled or a bundle made of it, to the minute; None if never.
        labels: what people and tools wrote beside it.
    """

    namespace: str
    name: str
    target: Descriptor
    created_at: float
    updated_at: float
    used_at: float | None = None
    labels: Mapping[str, str] = {}

    def __hash__(self) -> int:
        """Return the hash of all but the labels, which have none."""
        return hash(self[:-1])

    @property
    def sources(self) -> tuple[str, ...]:
        """Where it can be had again: where it was pulled from, and what its own name says."""
        from prestow.reference import LAYOUT_DOMAIN, Reference

        noted = [self.labels[SOURCE]] if SOURCE in self.labels else []
        named = [] if Reference.parse(self.name).domain == LAYOUT_DOMAIN else [self.name]
        return tuple(dict.fromkeys([*noted, *named]))


class Generation(NamedTuple):
    """What a name stood for before, until ``replaced_at``, in seconds since the epoch."""

    name: str
    target: Descriptor
    replaced_at: float


class Images:
    """The names of one namespace in a metadata database."""

    def __init__(self, db: Database, namespace: str = DEFAULT, *, clock: Callable[[], float] = time.time) -> None:
        """Look into ``db``."""
        self._db = db
        self._namespace = namespace
        self._clock = clock

    def get(self, name: str) -> ImageRecord:
        """Look a name up.

        Raises:
            NotFoundError: no such name.
        """
        rows = self._db.records(
            image_record, "SELECT * FROM images WHERE namespace = ? AND name = ?", (self._namespace, name)
        )
        if not rows:
            raise NotFoundError(f"image {printable(name)} is not in the store{self._within}; pull it")
        return rows[0]

    def find(self, text: str) -> ImageRecord:
        """Look a name up as people write it; what came from a layout is found without ``localhost/``.

        A digest, or its beginning, gives the first name of its image.

        Raises:
            InvalidError: not a reference, or a digest's beginning that several images share.
            NotFoundError: no such image.
        """
        if is_digest(text):
            return self.by_digest(text)[0]
        from prestow.reference import LAYOUT_DOMAIN, Reference, has_domain, image_name

        name = image_name(text, None)
        with suppress(NotFoundError):
            return self.get(name)
        if not has_domain(text):
            with suppress(NotFoundError):
                return self.get(str(Reference.parse(f"{LAYOUT_DOMAIN}/{text}")))
        hint = _DIGEST_HINT if re.fullmatch(_ALMOST, text) else _HINT
        raise NotFoundError(f"image {name} is not in the store{self._within}; {hint}")

    def only(self, text: str, advice: str = "name one of them") -> ImageRecord:
        """Look a name up as :meth:`find` does; a digest must be of an image with one name.

        Raises:
            InvalidError: as there.
            NotFoundError: as there.
            PreconditionError: it has several; the message ends with ``advice``.
        """
        found = self.by_digest(text) if is_digest(text) else (self.find(text),)
        if len(found) > 1:
            names = ", ".join(printable(record.name) for record in found)
            raise PreconditionError(f"image {found[0].target.digest.short} has {len(found)} names: {names}; {advice}")
        return found[0]

    def recall(self, text: str) -> ImageRecord:
        """Look a name up as :meth:`find` does; a digest also finds what a name stood for before.

        Raises:
            InvalidError: as there.
            NotFoundError: as there.
        """
        try:
            return self.find(text)
        except NotFoundError:
            earlier = [each for each in self.generations() if is_digest(text) and each.target.digest.startswith(text)]
            if not earlier:
                raise
        if len({each.target.digest for each in earlier}) > 1:
            raise _ambiguous(text)
        return self.get(earlier[0].name)._replace(target=earlier[0].target)

    def generations(self) -> tuple[Generation, ...]:
        """Return what the names stood for before, the newest first."""
        sql = "SELECT * FROM generations WHERE namespace = ? ORDER BY replaced_at DESC, name, digest"
        rows = self._db.read(sql, (self._namespace,))
        return tuple(Generation(row["name"], _target(row), row["replaced_at"]) for row in rows)

    def by_digest(self, beginning: str) -> tuple[ImageRecord, ...]:
        """Return the names of the image whose digest is, or begins with, a text; there is one at least.

        Raises:
            InvalidError: several images begin so.
            NotFoundError: none does.
        """
        sql = "SELECT * FROM images WHERE namespace = ? AND digest BETWEEN ? AND ? ORDER BY name"
        found = tuple(self._db.records(image_record, sql, (self._namespace, beginning, f"{beginning}g")))
        if len({record.target.digest for record in found}) > 1:
            raise _ambiguous(beginning)
        if not found:
            raise NotFoundError(f"image {beginning} is not in the store{self._within}; {_HINT}")
        return found

    def list(self) -> tuple[ImageRecord, ...]:
        """Return all names, sorted."""
        return tuple(
            self._db.records(image_record, "SELECT * FROM images WHERE namespace = ? ORDER BY name", (self._namespace,))
        )

    def every(self) -> tuple[ImageRecord, ...]:
        """Return the names of all namespaces, sorted: what the bytes of the store are there for."""
        return tuple(self._db.records(image_record, "SELECT * FROM images ORDER BY namespace, name"))

    def put(self, name: str, target: Descriptor) -> ImageRecord:
        """Make a name stand for ``target``; nothing changes if it does already.

        What it stood for before becomes a generation of the name.
        """
        values: dict[str, str | int | float] = {
            "namespace": self._namespace,
            "name": name,
            "digest": str(target.digest),
            "media_type": target.media_type,
            "size": target.size,
            "now": self._clock(),
        }
        with self._db.transaction() as cursor:
            _keep_generation(cursor, values)
            cursor.execute(
                "INSERT INTO images (namespace, name, digest, media_type, size, created_at, updated_at)"
                " VALUES (:namespace, :name, :digest, :media_type, :size, :now, :now)"
                " ON CONFLICT (namespace, name) DO UPDATE"
                " SET digest = :digest, media_type = :media_type, size = :size, updated_at = :now"
                " WHERE (digest, media_type, size) != (:digest, :media_type, :size)",
                values,
            )
            return self.get(name)

    def label(self, name: str, changes: Mapping[str, str | None]) -> ImageRecord:
        """Change the labels of a name; None takes one away.

        Raises:
            NotFoundError: no such name.
            InvalidError: a label breaks the rules of ``labels``.
        """
        with self._db.transaction() as cursor:
            labels = dump_labels(changed(self.get(name).labels, changes))
            cursor.execute(
                "UPDATE images SET labels = ? WHERE namespace = ? AND name = ?", (labels, self._namespace, name)
            )
            return self.get(name)

    def use(self, name: str) -> None:
        """Note that a name is used now, to the minute; success if there is no such name."""
        now = self._clock()
        rows = self._db.read("SELECT used_at FROM images WHERE namespace = ? AND name = ?", (self._namespace, name))
        if all(row["used_at"] is not None and 0 <= now - row["used_at"] < _MINUTE for row in rows):
            return  # a write waits for the disk
        with self._db.transaction() as cursor:
            cursor.execute(
                "UPDATE images SET used_at = ? WHERE namespace = ? AND name = ?", (now, self._namespace, name)
            )

    def remove(self, name: str) -> ImageRecord:
        """Forget a name with its generations, and give what it stood for.

        Raises:
            NotFoundError: no such name.
        """
        with self._db.transaction() as cursor:
            record = self.get(name)
            for table in ("images", "generations"):
                cursor.execute(f"DELETE FROM {table} WHERE namespace = ? AND name = ?", (self._namespace, name))  # noqa: S608 - ours
            return record

    @property
    def _within(self) -> str:
        return "" if self._namespace == DEFAULT else f", in namespace {self._namespace}"


def is_digest(text: str) -> bool:
    """Whether a text names an image by its digest, or by how that begins: at least four hex digits."""
    return re.fullmatch(_DIGEST, text) is not None


def _ambiguous(beginning: str) -> InvalidError:
    return InvalidError(f"image {beginning}: several images begin so; give more of the digest")


def _keep_generation(cursor: Cursor, values: Mapping[str, str | int | float]) -> None:
    """Note what a name stands for before it comes to stand for something else."""
    cursor.execute(
        "INSERT OR REPLACE INTO generations (namespace, name, digest, media_type, size, replaced_at)"
        " SELECT namespace, name, digest, media_type, size, :now FROM images"
        " WHERE namespace = :namespace AND name = :name AND digest != :digest",
        values,
    )
    cursor.execute("DELETE FROM generations WHERE namespace = :namespace AND name = :name AND digest = :digest", values)


def _target(row: Row) -> Descriptor:
    return Descriptor(row["media_type"], Digest.parse(row["digest"]), row["size"])


def image_record(row: Row) -> ImageRecord:
    """Return the name that a row of the table stands for."""
    return ImageRecord(
        namespace=row["namespace"],
        name=row["name"],
        target=_target(row),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        used_at=row["used_at"],
        labels=load_labels(row["labels"]),
    )
