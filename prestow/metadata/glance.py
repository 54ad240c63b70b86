"""A glance at the names in a store, for a person who is typing one: it makes, repairs and waits for nothing.

A store that is not there, is damaged or is another user's has no names here; commands say why.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

_PATIENCE = 0.1  # seconds


def image_names(database: Path, namespace: str) -> Sequence[str]:
    """Return the names of the images of a namespace, in order."""
    return _glance(database, "SELECT name FROM images WHERE namespace = ? ORDER BY name", namespace)


def container_ids(database: Path, namespace: str) -> Sequence[str]:
    """Return the IDs of the containers of a namespace, in order."""
    return _glance(database, "SELECT id FROM containers WHERE namespace = ? ORDER BY id", namespace)


def namespaces(database: Path) -> Sequence[str]:
    """Return the namespaces that have images or containers, in order."""
    return _glance(database, "SELECT namespace FROM images UNION SELECT namespace FROM containers ORDER BY 1")


def _glance(database: Path, query: str, *values: str) -> Sequence[str]:
    try:
        where = f"{database.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(where, uri=True, timeout=_PATIENCE)) as connection:
            return [str(row[0]) for row in connection.execute(query, values)]
    except sqlite3.Error:
        return ()
