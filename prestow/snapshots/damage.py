"""Damage: what of a store is no longer what it was when it was stored, or contradicts the rest of it."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from prestow.digest import Digest
from prestow.errors import printable
from prestow.metadata.namespace import qualified

_SHOWN = 4096  # characters of a name that others chose


class DamageKind(StrEnum):
    """What is damaged; the values stand in JSON documents."""

    DOCUMENT = "document"
    """An index, manifest or config."""
    LAYER = "layer"
    DIFF_BLOB = "diff blob"
    BLOB = "blob"
    """A blob to which no name leads."""
    SNAPSHOT = "snapshot"
    METADATA_IMAGE = "metadata image"
    SIDE_FILE = "side file"
    FILE = "file"
    """A file of an unpacked image."""
    NAME = "name"
    CONTAINER = "container"
    DATABASE = "database"
    ROW = "row"
    ROW_FILE = "row.json"
    CONTAINER_FILES = "containers"
    INDEX_FILE = "index.json"
    LAYOUT_FILE = "oci-layout"
    UNKNOWN = "unknown"
    """Something that prestow did not put there."""


FILES = frozenset({DamageKind.METADATA_IMAGE, DamageKind.SIDE_FILE, DamageKind.FILE})
"""Kinds whose subject is a file of a snapshot."""


class Subject(str):
    """The thing that is damaged, as a text for people; the same thing has the same text in every check."""

    __slots__ = ()

    @classmethod
    def blob(cls, digest: Digest) -> Self:
        """Return the subject of a blob."""
        return cls(digest)

    @classmethod
    def snapshot(cls, driver: str, key: str) -> Self:
        """Return the subject of a snapshot, or of its row."""
        return cls(f"{driver} {key}")

    @classmethod
    def name(cls, namespace: str, name: str) -> Self:
        """Return the subject of an image's name, or of a container's ID."""
        return cls(printable(qualified(namespace, name), _SHOWN))

    @classmethod
    def file(cls, path: Path) -> Self:
        """Return the subject of a file or directory."""
        return cls(printable(os.fsencode(path), _SHOWN))


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is no longer what it was when it was stored.

    Attributes:
        kind: what kind of thing it is.
        name: which one.
        what: what about it.
    """

    kind: DamageKind
    name: Subject
    what: str
