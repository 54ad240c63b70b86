"""The snapshotter's interface: unpacked images by chain ID, and what containers write on top of them.

    commit_layers(image)        chain IDs committed, each on its parent
    prepare(key, parent)  ───▶  active   ──mounts──▶ read-write   ──commit(name)──▶ committed
    view(key, parent)     ───▶  view     ──mounts──▶ read-only
    remove(key)                 children first

A *committed* snapshot never changes; its name is a chain ID where it came from an image, so that it is known by what
it contains. An *active* one is written to, a *view* is only read; both are named by their user's *key*. Keys and names
share one name space in each driver. Nothing here mounts a snapshot: ``mounts`` tells what to mount, and makes sure
that it can be mounted, after a reboot too. A row in the metadata store names a snapshot, and never proves that its
files exist. Whatever implements :class:`Snapshotter` passes ``tests/conformance/snapshotter.py``.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from prestow.content.store import Progress
from prestow.digest import Digest

if TYPE_CHECKING:
    from prestow.oci.image import Image
    from prestow.snapshots.damage import Damage


class Kind(Enum):
    """State of a snapshot."""

    COMMITTED = "committed"
    ACTIVE = "active"
    VIEW = "view"


class Info(NamedTuple):
    """What the metadata store knows of a snapshot.

    Attributes:
        driver: the snapshotter that has it.
        key: key of an active one or view, name of a committed one.
        kind: its state.
        parent: name of the committed snapshot below, or None.
        id: number of its folder.
        created_at: seconds since the epoch.
        diff_id: of the layer that it adds to its parent; None for what a container wrote.
    """

    driver: str
    key: str
    kind: Kind
    parent: str | None
    id: int
    created_at: float
    diff_id: Digest | None = None


class Mount(NamedTuple):
    """One mount(2) that the user of a snapshot makes.

    Attributes:
        type: file system, or ``bind``.
        source: what is mounted.
        options: as mount(8) and mount(2) take them, special characters of paths escaped; joined by commas.
    """

    type: str
    source: str
    options: tuple[str, ...]


class Usage(NamedTuple):
    """What a snapshot by itself takes on disk, without its parents and without layers in the content store.

    Attributes:
        bytes: allocated bytes.
        inodes: files, folders and all else; hard links once.
    """

    bytes: int
    inodes: int


Aside: TypeAlias = Callable[[Path, str], object]
"""Takes a file or folder out of the way, told why; it is not deleted."""


class Snapshotter(Protocol):
    """Keeps snapshots of one kind; every method is safe to call from several threads and processes."""

    @property
    def driver(self) -> str:
        """Name of the kind: ``erofs``, ``overlay`` or ``native``."""

    def commit_layers(self, image: "Image") -> None:
        """Commit each chain ID of an image on its parent, durably; success if they are committed.

        Only files that the whole image needs are made; those of lower chain IDs when they are first used as a parent.

        Args:
            image: its layers' diff blobs are in the content store.

        Raises:
            PreconditionError: a layer's diff blob is not in the content store.
            InvalidError: the layers do not make a tree.
        """

    def committed(self, chain_id: Digest) -> bool:
        """Whether a chain ID is committed and everything that its mounts need is there, of the right size."""

    def verify(self, chain_id: Digest, *, progress: Progress | None = None) -> "Iterator[Damage]":
        """Compare the files of a chain ID, and of those below it, with what its layers mean; tell what is not the same.

        The layers are taken to be what they should be: hash their diff blobs before. What containers wrote is theirs.

        Raises:
            NotFoundError: no such name.
            PreconditionError: a layer's diff blob is not in the content store.
            InvalidError: the layers do not make a tree.
        """

    def renew(self, chain_id: Digest, aside: Aside, *, progress: Progress | None = None) -> list[Digest]:
        """Make the files of a chain ID, and of those below it, again where ``verify`` finds damage.

        Who has them mounted keeps what he has, for the old files are moved away, not changed.

        Args:
            chain_id: the snapshot.
            aside: takes the damaged files.
            progress: told of bytes as they are compared.

        Returns:
            The chain IDs whose files are new.

        Raises:
            As ``verify``, and StorageError if the disk failed.
        """

    def stat(self, key: str) -> Info:
        """Return what is known of one snapshot.

        Raises:
            NotFoundError: no such key or name.
        """

    def walk(self) -> Iterator[Info]:
        """List all snapshots, parents before children."""

    def usage(self, key: str) -> Usage:
        """Measure one snapshot.

        Raises:
            NotFoundError: no such key or name.
        """

    def mounts(self, key: str) -> tuple[Mount, ...]:
        """Return what to mount, in order, all at one place, to see an active snapshot or a view.

        Raises:
            NotFoundError: no such key.
            PreconditionError: the snapshot is committed; prepare or view one on it.
        """

    def prepare(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        """Make an active snapshot on a committed one (None: empty), and tell its mounts.

        Raises:
            AlreadyExistsError: the key is in use.
            NotFoundError: no such parent.
            PreconditionError: the parent is not committed, or its layers are no longer in the content store.
        """

    def view(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        """Make a read-only snapshot of a committed one, and tell its mounts; raises as ``prepare``."""

    def commit(self, name: str, key: str) -> None:
        """Make an active snapshot a committed one, durably; its key is free afterwards.

        Raises:
            NotFoundError: no such key.
            AlreadyExistsError: the name is in use.
            PreconditionError: not an active snapshot, or still mounted.
        """

    def remove(self, key: str) -> None:
        """Remove a snapshot.

        Raises:
            NotFoundError: no such key or name.
            PreconditionError: it has children, or is mounted.
        """
