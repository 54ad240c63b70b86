"""The metadata database, drawn.

    images           namespace + name ──▶ digest, media type, size, labels       names, as people give them
    generations      namespace + name ──▶ digests …, each until when             what a name stood for before
    containers       namespace + id ──▶ image, manifest, driver + key ──▶ snapshots, bundle
    snapshots        driver + key ──▶ kind, id, parent ──▶ snapshots    the key of a committed one is its chain ID
    leases           id ──▶ namespace, owner, process, end      what is in use but not named yet
    lease_resources  lease ──▶ leases, kind, key              what it holds: a digest, a ref, a snapshot's key
    announcements    lease ──▶ leases, manifest, driver       the image that will take room on the disk
    name_changes     seq ──▶ namespace, name                  what index.json may lack yet; triggers write it
    published        file ──▶ which file was written last     so that one that is older or newer is known
    set_images       namespace + set + name + digest ──▶ generation, lease    images that the fleet's sets wanted
    set_generations  namespace + set + generation ──▶ when it ended here      and whether all of it is here since
    set_failures     namespace + set + image ──▶ error        what the last run of a set could not bring here
    checks           digest of a target ──▶ when fsck looked, and whether it was sound
    fetched          bytes, seconds                           of the last runs of sets, older ones weigh less
    handed_over      namespace + name + runtime ──▶ digest, names there    what a runtime of this host was given

Times are seconds since the epoch, but ``ends_at``: seconds since the boot of ``boot_id``; and ``started``: when the
process ``pid``, counted in ``pid_namespace``, began, in clock ticks since that boot. ``labels`` is a JSON object of
strings. Two rules are the database's own, so that no race can break them: a snapshot's parent stays as long as the
snapshot, and a committed snapshot stays as long as a lease holds it. A row is a *name*, never proof that bytes exist.

The schema only grows forward: step N of ``STEPS`` makes version N of version N-1, and a new database takes all of
them, so that it cannot differ from one that was migrated. A step that was released is never changed.
"""

import sqlite3
from contextlib import closing
from functools import cache

_FIRST = (
    """
    CREATE TABLE images (
        name        TEXT PRIMARY KEY,
        digest      TEXT NOT NULL,
        media_type  TEXT NOT NULL,
        size        INTEGER NOT NULL CHECK (size >= 0),
        created_at  REAL NOT NULL,
        updated_at  REAL NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE snapshots (
        driver      TEXT NOT NULL,
        key         TEXT NOT NULL,
        kind        TEXT NOT NULL CHECK (kind IN ('committed', 'active', 'view')),
        parent      TEXT,
        id          INTEGER NOT NULL,
        diff_id     TEXT,
        created_at  REAL NOT NULL,
        PRIMARY KEY (driver, key),
        UNIQUE (driver, id),
        FOREIGN KEY (driver, parent) REFERENCES snapshots (driver, key)
    ) STRICT
    """,
    "CREATE INDEX snapshots_parent ON snapshots (driver, parent)",
    """
    CREATE TABLE containers (
        id               TEXT PRIMARY KEY,
        image            TEXT NOT NULL,
        manifest_digest  TEXT NOT NULL,
        driver           TEXT NOT NULL,
        snapshot_key     TEXT NOT NULL,
        bundle           TEXT NOT NULL,
        created_at       REAL NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE leases (
        id          TEXT PRIMARY KEY,
        owner       TEXT NOT NULL,
        created_at  REAL NOT NULL,
        expires_at  REAL NOT NULL,
        boot_id     TEXT NOT NULL,
        ends_at     REAL NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE lease_resources (
        lease  TEXT NOT NULL REFERENCES leases (id) ON DELETE CASCADE,
        kind   TEXT NOT NULL CHECK (kind IN ('content', 'ingest', 'snapshot')),
        key    TEXT NOT NULL,
        PRIMARY KEY (lease, kind, key)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX lease_resources_key ON lease_resources (kind, key)",
    """
    CREATE TRIGGER snapshots_leased BEFORE DELETE ON snapshots
    WHEN old.kind = 'committed'
        AND EXISTS (SELECT 1 FROM lease_resources WHERE kind = 'snapshot' AND key = old.key)
    BEGIN
        SELECT raise(ABORT, 'a lease holds this snapshot');
    END
    """,
)

_NAMESPACES_AND_LABELS = (
    "ALTER TABLE images RENAME TO images_1",
    """
    CREATE TABLE images (
        namespace   TEXT NOT NULL DEFAULT 'default',
        name        TEXT NOT NULL,
        digest      TEXT NOT NULL,
        media_type  TEXT NOT NULL,
        size        INTEGER NOT NULL CHECK (size >= 0),
        labels      TEXT NOT NULL DEFAULT '{}' CHECK (json_type(labels) = 'object'),
        created_at  REAL NOT NULL,
        updated_at  REAL NOT NULL,
        used_at     REAL,
        PRIMARY KEY (namespace, name)
    ) STRICT
    """,
    """
    INSERT INTO images (name, digest, media_type, size, created_at, updated_at)
    SELECT name, digest, media_type, size, created_at, updated_at FROM images_1
    """,
    "DROP TABLE images_1",
    """
    CREATE TABLE generations (
        namespace    TEXT NOT NULL,
        name         TEXT NOT NULL,
        digest       TEXT NOT NULL,
        media_type   TEXT NOT NULL,
        size         INTEGER NOT NULL CHECK (size >= 0),
        replaced_at  REAL NOT NULL,
        PRIMARY KEY (namespace, name, digest)
    ) STRICT
    """,
    "ALTER TABLE containers RENAME TO containers_1",
    """
    CREATE TABLE containers (
        namespace        TEXT NOT NULL DEFAULT 'default',
        id               TEXT NOT NULL,
        image            TEXT NOT NULL,
        manifest_digest  TEXT NOT NULL,
        driver           TEXT NOT NULL,
        snapshot_key     TEXT NOT NULL,
        bundle           TEXT NOT NULL,
        created_at       REAL NOT NULL,
        PRIMARY KEY (namespace, id)
    ) STRICT
    """,
    """
    INSERT INTO containers (id, image, manifest_digest, driver, snapshot_key, bundle, created_at)
    SELECT id, image, manifest_digest, driver, snapshot_key, bundle, created_at FROM containers_1
    """,
    "DROP TABLE containers_1",
    "ALTER TABLE leases ADD COLUMN namespace TEXT NOT NULL DEFAULT 'default'",
    "ALTER TABLE leases ADD COLUMN pid INTEGER",
    "ALTER TABLE leases ADD COLUMN started INTEGER",
)

_ANNOUNCEMENTS = (
    "ALTER TABLE leases ADD COLUMN pid_namespace INTEGER",
    """
    CREATE TABLE announcements (
        lease     TEXT PRIMARY KEY REFERENCES leases (id) ON DELETE CASCADE,
        manifest  TEXT NOT NULL CHECK (json_type(manifest) = 'object'),
        driver    TEXT NOT NULL,
        at_once   INTEGER NOT NULL CHECK (at_once > 0)
    ) STRICT
    """,
)

_NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
_NEXT = f"max(ifnull((SELECT max(seq) FROM name_changes), 0) + 1, {_NOW})"  # noqa: S608 - ours


def _noted(trigger: str, event: str, row: str) -> str:
    """Return the trigger that notes which name an event changes."""
    return f"""
    CREATE TRIGGER {trigger} AFTER {event} ON images
    BEGIN
        INSERT INTO name_changes (seq, namespace, name) VALUES ({_NEXT}, {row}.namespace, {row}.name);
    END
    """  # noqa: S608 - ours


_NAME_CHANGES = (
    "CREATE TABLE name_changes (seq INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL) STRICT",
    _noted("images_added", "INSERT", "new"),
    _noted("images_changed", "UPDATE OF digest, media_type, size, labels, created_at, updated_at", "new"),
    _noted("images_removed", "DELETE", "old"),
    "CREATE INDEX images_digest ON images (namespace, digest)",
    "CREATE INDEX containers_image ON containers (namespace, image)",
    """
    CREATE TABLE published (
        file      TEXT PRIMARY KEY,
        identity  TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)

_SETS = (
    """
    CREATE TABLE set_images (
        namespace   TEXT NOT NULL,
        set_name    TEXT NOT NULL,
        name        TEXT NOT NULL,
        digest      TEXT NOT NULL,
        generation  INTEGER NOT NULL,
        wanted_at   REAL NOT NULL,
        ours        INTEGER NOT NULL CHECK (ours IN (0, 1)),
        lease       TEXT REFERENCES leases (id) ON DELETE SET NULL,
        PRIMARY KEY (namespace, set_name, name, digest)
    ) STRICT
    """,
    """
    CREATE TABLE set_generations (
        namespace   TEXT NOT NULL,
        set_name    TEXT NOT NULL,
        generation  INTEGER NOT NULL,
        ended_at    REAL NOT NULL,
        complete    INTEGER NOT NULL CHECK (complete IN (0, 1)),
        PRIMARY KEY (namespace, set_name, generation)
    ) STRICT
    """,
    """
    CREATE TABLE set_failures (
        namespace  TEXT NOT NULL,
        set_name   TEXT NOT NULL,
        image      TEXT NOT NULL,
        error      TEXT NOT NULL,
        at         REAL NOT NULL,
        PRIMARY KEY (namespace, set_name, image)
    ) STRICT
    """,
    "CREATE TABLE checks (digest TEXT PRIMARY KEY, at REAL NOT NULL, sound INTEGER NOT NULL) STRICT",
    "CREATE TABLE fetched (id INTEGER PRIMARY KEY CHECK (id = 1), bytes REAL NOT NULL, seconds REAL NOT NULL) STRICT",
)

_HANDED_OVER = (
    """
    CREATE TABLE handed_over (
        namespace          TEXT NOT NULL,
        name               TEXT NOT NULL,
        runtime            TEXT NOT NULL,
        address            TEXT NOT NULL,
        runtime_namespace  TEXT NOT NULL,
        digest             TEXT NOT NULL,
        form               TEXT NOT NULL,
        snapshotter        TEXT NOT NULL,
        names              TEXT NOT NULL CHECK (json_type(names) = 'array'),
        pinned             INTEGER NOT NULL CHECK (pinned IN (0, 1)),
        directories        TEXT NOT NULL CHECK (json_type(directories) = 'array'),
        at                 REAL NOT NULL,
        PRIMARY KEY (namespace, name, runtime, address, runtime_namespace)
    ) STRICT
    """,
)

STEPS = (_FIRST, _NAMESPACES_AND_LABELS, _ANNOUNCEMENTS, _NAME_CHANGES, _SETS, _HANDED_OVER)
"""Statements that make each version of the one before it."""

VERSION = len(STEPS)
"""``user_version`` of the database file; greater ones are of a newer prestow."""

PARTS = """
    SELECT type, name, '' FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'
    UNION ALL
    SELECT 'column', t.name, c.name FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c WHERE t.type = 'table'
"""
"""Query for what a database consists of: its tables, indexes and triggers, and their columns."""


@cache
def parts() -> frozenset[tuple[str, ...]]:
    """Return what ``PARTS`` finds at least in a database of this version."""
    with closing(sqlite3.connect(":memory:")) as plain:
        for statement in (statement for step in STEPS for statement in step):
            plain.execute(statement)
        return frozenset(plain.execute(PARTS))
