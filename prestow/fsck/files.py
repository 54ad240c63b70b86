"""Files: everything below ``content/`` and ``snapshots/`` is something that the store has put there."""

import json
import os
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from prestow.content.blobs import LAYOUT, MARKER
from prestow.content.disk import read_file, translated
from prestow.content.store import Progress
from prestow.digest import ALGORITHMS, Digest
from prestow.errors import MismatchError, NotFoundError, PrestowError, StorageError
from prestow.fsck.finding import Finding
from prestow.snapshots.damage import Damage, DamageKind, Subject
from prestow.snapshots.drivers.probe import RECORD
from prestow.store.node import Node

_ASIDE = "moved to quarantine"
_OURS = frozenset({MARKER, "index.json", "blobs"})
_NAMELESS = "no name leads to it, as far as documents can be read"


def files(node: Node, hashed: Collection[Digest], progress: Progress | None) -> Iterator[Finding]:
    """Look for unknown files, and for damaged blobs that no image led to.

    Args:
        node: the store.
        hashed: blobs that were looked at already.
        progress: told of bytes as they are read.
    """
    yield from _marker(node)
    yield from _unknown(node, node.content.root, _OURS)
    yield from _unknown(node, node.content.root / "blobs", frozenset(ALGORITHMS))
    for algorithm in ALGORITHMS:
        for path in _entries(node.content.root / "blobs" / algorithm):
            yield from _blob(node, path, algorithm, hashed, progress)
    drivers = frozenset(driver.driver for driver in node.snapshotters)
    yield from _unknown(node, node.home / "snapshots", drivers | {RECORD})


def aside(node: Node, path: Path, kind: DamageKind, what: str) -> Finding:
    """Return the finding of something that goes to quarantine."""
    return Finding(
        Damage(kind, Subject.file(path), what), _ASIDE, partial(node.content.quarantine_area.take, path, what)
    )


def _marker(node: Node) -> Iterator[Finding]:
    """Look at the file without which no other tool takes the content store for a layout; a missing one was made."""
    path = node.content.root / MARKER
    try:
        right = json.loads(read_file(path)) == LAYOUT
    except (OSError, ValueError):
        right = False
    if not right:
        damage = Damage(DamageKind.LAYOUT_FILE, Subject.file(path), "is not what it should be")
        yield Finding(damage, "rebuilt", partial(_mark, node, path))


def _mark(node: Node, path: Path) -> None:
    node.content.quarantine_area.take(path, "is not what it should be")
    node.content.complete()


def _unknown(node: Node, folder: Path, known: Collection[str]) -> Iterator[Finding]:
    """Find what is not ours; hidden files are those of processes that are about to rename or remove them."""
    for path in _entries(folder):
        if path.name not in known and not path.name.startswith("."):
            yield aside(node, path, DamageKind.UNKNOWN, "is nothing that belongs here")


def _entries(folder: Path) -> list[Path]:
    with translated(f"listing {folder}"):
        return sorted(folder.iterdir()) if folder.is_dir() else []


def _blob(
    node: Node, path: Path, algorithm: str, hashed: Collection[Digest], progress: Progress | None
) -> Iterator[Finding]:
    """Look at one file among the blobs."""
    try:
        digest = Digest.parse(f"{algorithm}:{path.name}")
    except PrestowError:
        if not path.name.startswith("."):
            yield aside(node, path, DamageKind.UNKNOWN, "is not named by a digest")
        return
    if digest in hashed:
        return
    try:
        node.content.check(digest, progress=progress)
    except NotFoundError:
        if os.path.lexists(path):  # not removed meanwhile
            yield aside(node, path, DamageKind.BLOB, f"is empty, or no file; {_NAMELESS}")
    except MismatchError:
        yield aside(node, path, DamageKind.BLOB, f"its bytes are not those of its digest; {_NAMELESS}")
    except StorageError as error:
        yield aside(node, path, DamageKind.BLOB, f"cannot be read: {error}; {_NAMELESS}")
