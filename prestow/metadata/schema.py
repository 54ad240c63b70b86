"""The metadata database, drawn.

    images           name ──▶ digest, media type, size                 names, as people give them
    containers       id ──▶ image, manifest, driver + key ──▶ snapshots, bundle
    snapshots        driver + key ──▶ kind, id, parent ──▶ snapshots    the key of a committed one is its chain ID
    leases           id ──▶ owner, end                          what is in use but not named yet
    lease_resources  lease ──▶ leases, kind, key              what it holds: a digest, a ref, a snapshot's key

Times are seconds since the epoch, but ``ends_at``: seconds since the boot of ``boot_id``. Two rules are the database's
own, so that no race can break them: a snapshot's parent stays as long as the snapshot, and a committed snapshot stays
as long as a lease holds it. A row is a *name*, never proof that bytes exist.
"""

VERSION = 1
"""``user_version`` of the database file; greater ones are of a newer prestow."""

TABLES = (
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
