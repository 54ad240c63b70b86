"""What the fleet's image sets wanted here, in which generation, and what came of it.

An image that a set wants has a row with the last generation in which it did, and as a rule a lease without an end,
which goes with the row. The set has no other claim to it: whether a *name* was there before the set brought it is
noted, because then it is a person's, and stays.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prestow.digest import Digest
from prestow.metadata.database import Database, Row
from prestow.metadata.namespace import DEFAULT

_FADING = 0.5
"""What a run of before still weighs beside the next one, when the rate is worked out."""


@dataclass(frozen=True, slots=True)
class SetImage:
    """An image that a set wants, or wanted in an earlier generation.

    Attributes:
        set: name of the set.
        name: which the image has by it.
        digest: of the target.
        generation: the last one in which the set wanted it.
        ours: whether the name was brought by a set, and not there before.
        lease: which protects the image; None if the set has none.
    """

    namespace: str
    set: str
    name: str
    digest: Digest
    generation: int
    ours: bool
    lease: str | None


@dataclass(frozen=True, slots=True)
class SetGeneration:
    """A generation whose run ended here.

    Attributes:
        ended_at: when it last did, in seconds since the epoch.
        complete: whether all of its images were here then.
    """

    set: str
    generation: int
    ended_at: float
    complete: bool


@dataclass(frozen=True, slots=True)
class SetFailure:
    """An image that the last run of a set could not bring here; ``set`` is empty for a run without one."""

    set: str
    image: str
    error: str
    at: float


class Sets:
    """The sets of one namespace in a metadata database."""

    def __init__(self, db: Database, namespace: str = DEFAULT, *, clock: Callable[[], float] = time.time) -> None:
        """Look into ``db``."""
        self._db = db
        self._namespace = namespace
        self._clock = clock

    def put(self, wanted: str, generation: int, name: str, digest: Digest, *, ours: bool, lease: str | None) -> None:
        """Note that a set wants an image in a generation; the lease takes the place of the one before.

        ``ours`` counts the first time only.
        """
        where = (self._namespace, wanted, name, str(digest))
        with self._db.transaction() as cursor:
            before = self._db.read(
                "SELECT lease FROM set_images WHERE namespace = ? AND set_name = ? AND name = ? AND digest = ?", where
            )
            cursor.execute(
                "INSERT INTO set_images (namespace, set_name, name, digest, generation, wanted_at, ours, lease)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " generation = excluded.generation, wanted_at = excluded.wanted_at, lease = excluded.lease",
                (*where, generation, self._clock(), ours, lease),
            )
            cursor.executemany(
                "DELETE FROM leases WHERE id = ?", [(row["lease"],) for row in before if row["lease"] != lease]
            )

    def drop(self, image: SetImage) -> None:
        """Remove an image from its set, with its lease; success if it is not there."""
        with self._db.transaction() as cursor:
            cursor.execute("DELETE FROM leases WHERE id = ?", (image.lease,))
            cursor.execute(
                "DELETE FROM set_images WHERE namespace = ? AND set_name = ? AND name = ? AND digest = ?",
                (image.namespace, image.set, image.name, str(image.digest)),
            )

    def images(self, of: str | None = None) -> tuple[SetImage, ...]:
        """Return the images of a set, or of all sets of the namespace, sorted."""
        sql = "SELECT * FROM set_images WHERE namespace = ? ORDER BY set_name, name, digest"
        found = map(_image, self._db.read(sql, (self._namespace,)))
        return tuple(image for image in found if of in (None, image.set))

    def every(self) -> tuple[SetImage, ...]:
        """Return the images of the sets of all namespaces, sorted."""
        sql = "SELECT * FROM set_images ORDER BY namespace, set_name, name, digest"
        return tuple(map(_image, self._db.read(sql)))

    def end(self, wanted: str, generation: int, *, complete: bool) -> None:
        """Note that the run of a generation has ended now."""
        with self._db.transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO set_generations VALUES (?, ?, ?, ?, ?)",
                (self._namespace, wanted, generation, self._clock(), complete),
            )

    def generations(self) -> tuple[SetGeneration, ...]:
        """Return the generations of all sets of the namespace, the one that ended last first."""
        sql = "SELECT * FROM set_generations WHERE namespace = ? ORDER BY ended_at DESC, generation DESC"
        rows = self._db.read(sql, (self._namespace,))
        return tuple(SetGeneration(r["set_name"], r["generation"], r["ended_at"], bool(r["complete"])) for r in rows)

    def fail(self, wanted: str, failures: Iterable[tuple[str, str]]) -> None:
        """Note which images the run that has just ended could not bring here, and why; of runs before, nothing."""
        rows = [(self._namespace, wanted, image, error, self._clock()) for image, error in failures]
        with self._db.transaction() as cursor:
            cursor.execute("DELETE FROM set_failures WHERE namespace = ? AND set_name = ?", (self._namespace, wanted))
            cursor.executemany("INSERT OR REPLACE INTO set_failures VALUES (?, ?, ?, ?, ?)", rows)

    def failures(self) -> tuple[SetFailure, ...]:
        """Return what the last run of each set of the namespace could not bring here."""
        sql = "SELECT * FROM set_failures WHERE namespace = ? ORDER BY set_name, image"
        rows = self._db.read(sql, (self._namespace,))
        return tuple(SetFailure(row["set_name"], row["image"], row["error"], row["at"]) for row in rows)

    def fetch(self, count: int, seconds: float) -> None:
        """Note the bytes that a run fetched, and how long its pulls took."""
        with self._db.transaction() as cursor:
            cursor.execute(
                "INSERT INTO fetched VALUES (1, ?, ?) ON CONFLICT DO UPDATE SET"
                " bytes = bytes * ? + excluded.bytes, seconds = seconds * ? + excluded.seconds",
                (count, seconds, _FADING, _FADING),
            )

    def rate(self) -> float | None:
        """Return the bytes a second of the last runs; None if none fetched anything."""
        rows = self._db.read("SELECT bytes, seconds FROM fetched")
        return next((row["bytes"] / row["seconds"] for row in rows if row["bytes"] > 0 < row["seconds"]), None)


def _image(row: Row) -> SetImage:
    return SetImage(
        row["namespace"], row["set_name"], row["name"], Digest.parse(row["digest"]), row["generation"],
        bool(row["ours"]), row["lease"],
    )  # fmt: skip
