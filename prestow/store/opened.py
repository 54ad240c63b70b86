"""What an opened store has, whatever the settings say: content, names, containers, leases, and where things are.

    $PRESTOW_HOME/             mode 0700, writable by its owner alone
      store.json               format version, store id (random, made once)
      metadata.db              names, snapshots, containers, leases; metadata.lock while it is made
      containers/              the containers once more, should the database be lost
      content/                 an OCI image layout
      ingest/                  partial downloads
      snapshots/  bundles/     by driver; by container ID
      namespaces/<name>/       bundles/, runtime/ of the other namespaces than the default one
      quarantine/              damaged, and out of the way
      trash/                   on its way out

It is enough for verbs that only read, and imports neither settings nor clients; what only some verbs need is imported
when they ask for it.
"""

import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.content.blobs import Blobs
from prestow.content.disk import make_folder, translated
from prestow.metadata.database import Cursor, Database
from prestow.metadata.images import ImageRecord, Images
from prestow.metadata.namespace import DEFAULT
from prestow.metadata.reserve import Reserve

if TYPE_CHECKING:
    from prestow.content.local import LocalStore
    from prestow.metadata.containers import Containers
    from prestow.metadata.handed_over import HandOvers
    from prestow.metadata.leases import Leases
    from prestow.metadata.sets import Sets
    from prestow.oci.artifact import Artifact
    from prestow.oci.image import Image
    from prestow.snapshots.snapshotter import Info

_LONGEST_NAME = 63


def own_name() -> str:
    """Return the name of this machine, as the fleet knows it, if no other was chosen."""
    return host_name(os.uname().nodename)


def host_name(text: str) -> str:
    """Return the name of a machine as the fleet's grammar has it: small letters, digits, ``.`` and ``-``.

    >>> host_name("GPU_01.example.")
    'gpu-01.example'
    """
    return re.sub("[^a-z0-9.-]", "-", text.lower()).strip(".-")[:_LONGEST_NAME].rstrip(".-") or "host"


class OpenedStore:
    """One store, opened.

    Attributes:
        home: its folder.
        store_id: random name that it was given when it was made.
        namespace: whose names are seen.
    """

    def __init__(self, home: Path, store_id: str, namespace: str = DEFAULT) -> None:
        """Open nothing yet; see above."""
        self.home, self.store_id, self.namespace = home, store_id, namespace

    @property
    def host(self) -> str:
        """Name of this machine, as the fleet knows it, if no other was chosen."""
        return own_name()

    @cached_property
    def blobs(self) -> Blobs:
        """The blobs of the content store, which is all that a verb needs that reads documents."""
        return Blobs(self.home / "content", trash=self.home / "trash")

    @cached_property
    def content(self) -> "LocalStore":
        """The content store."""
        from prestow.content.local import LocalStore

        return LocalStore(self.home / "content", self.home / "ingest")

    @cached_property
    def database(self) -> Database:
        """The metadata store."""
        return Database(self.home / "metadata.db", on_create=self._rebuild)

    def _rebuild(self, cursor: Cursor) -> None:
        """Fill a new database from what is on disk, of which there is something if another one was lost."""
        from prestow.store.rebuild import rebuild

        rebuild(self.home, self.content, cursor)

    @cached_property
    def images(self) -> Images:
        """The names."""
        return Images(self.database, self.namespace)

    @cached_property
    def containers(self) -> "Containers":
        """The containers."""
        from prestow.metadata.containers import Containers

        return Containers(self.database, self.namespace)

    @cached_property
    def sets(self) -> "Sets":
        """The fleet's image sets, as far as they are this host's."""
        from prestow.metadata.sets import Sets

        return Sets(self.database, self.namespace)

    @cached_property
    def hand_overs(self) -> "HandOvers":
        """The images that runtimes of this host were given."""
        from prestow.metadata.handed_over import HandOvers

        return HandOvers(self.database, self.namespace)

    @cached_property
    def leases(self) -> "Leases":
        """The leases."""
        from prestow.metadata.leases import Leases

        return Leases(self.database, namespace=self.namespace)

    def snapshots(self) -> "list[Info]":
        """List the snapshots of all drivers; that needs their rows alone, and no settings."""
        from prestow.snapshots.catalog import every_snapshot

        return every_snapshot(self.database)

    @property
    def own(self) -> Path:
        """Folder of what containers have of this namespace alone: their IDs are unique only within it."""
        return self.home if self.namespace == DEFAULT else self.home / "namespaces" / self.namespace

    def snapshot_key(self, container_id: str) -> str:
        """Return the key of a container's snapshot, among those of all namespaces."""
        return container_id if self.namespace == DEFAULT else f"{self.namespace}/{container_id}"

    def bundle_folder(self, container_id: str) -> Path:
        """Return the place of a container's bundle, where no other one was chosen."""
        bundles = self.own / "bundles"
        with translated(f"making {bundles}"):
            make_folder(bundles)
        return bundles / container_id

    def image(self, text: str) -> ImageRecord:
        """Look an image up by its name as people write it; what came from a layout is found without ``localhost/``.

        Raises:
            InvalidError: not a reference.
            NotFoundError: no such name.
        """
        return self.images.find(text)

    def make_room(self) -> None:
        """Make it possible to remove things on a disk that is full: the database cannot even be opened there."""
        Reserve(self.home / "metadata.db").make_room()

    def protect(self, lease: str, image: "Image | Artifact") -> None:
        """Put everything that an image or artifact is, or will be, under a lease."""
        from prestow.content.refs import diff_ref, layer_ref
        from prestow.oci.artifact import Artifact

        if isinstance(image, Artifact):
            parts = [blob.descriptor.digest for blob in image.blobs]
            manifests = [manifest.digest for manifest in image.manifests]
            self.leases.add(lease, "content", [image.target.digest, *manifests, *parts])
            self.leases.add(lease, "ingest", map(layer_ref, parts))
            return
        documents = (image.target.digest, image.manifest.digest, image.config.digest)
        blobs = [digest for layer in image.layers for digest in (layer.descriptor.digest, layer.diff_id)]
        refs = [ref for layer in image.layers for ref in (layer_ref(layer.descriptor.digest), diff_ref(layer.diff_id))]
        self.leases.add(lease, "content", [*documents, *blobs])
        self.leases.add(lease, "ingest", refs)
        self.leases.add(lease, "snapshot", [layer.chain_id for layer in image.layers])
