"""One opened store: every room wired together from the host's settings.

    $PRESTOW_HOME/             mode 0700, and nobody else may write to it
      store.json               format version, store id (random, made once)
      metadata.db              names, snapshots, containers, leases; metadata.lock while it is made
      containers/              the containers once more, should the database be lost
      content/  ingest/        an OCI image layout; partial downloads
      snapshots/  bundles/     by driver; by container ID
      namespaces/<name>/       bundles/, runtime/ of the other namespaces than the default one
      quarantine/  trash/      damaged, and out of the way; on its way out

This is the only room that reads settings. A process opens a store once (:func:`open_node`); that is cheap enough for
verbs that only read, which need neither settings nor any client.
"""

import socket
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from config.home import namespace_or_default
from prestow.content.disk import make_folder, translated
from prestow.content.local import LocalStore
from prestow.content.plan import layer_ref
from prestow.digest import Digest
from prestow.errors import InvalidError, NotFoundError, PrestowError
from prestow.metadata.containers import Containers
from prestow.metadata.database import Cursor, Database
from prestow.metadata.images import ImageRecord, Images
from prestow.metadata.labels import SOURCE
from prestow.metadata.leases import Leases
from prestow.metadata.namespace import DEFAULT, check_namespace
from prestow.metadata.reserve import Reserve
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image, Layer
from prestow.oci.lookup import find_image
from prestow.platforms import Platform
from prestow.reference import parse_source
from prestow.store.folder import open_folder

if TYPE_CHECKING:
    from config.settings import Settings
    from prestow.layers.limits import Limits
    from prestow.layers.scans import Scans
    from prestow.registry.source import Source, Sources
    from prestow.snapshots.drivers.driver import Driver
    from prestow.snapshots.snapshotter import Info


@dataclass(frozen=True)
class Node:
    """One store of one host, opened.

    Attributes:
        home: its folder.
        store_id: random name that it was given when it was made.
        namespace: whose names are seen.
    """

    home: Path
    store_id: str
    namespace: str = DEFAULT

    @property
    def host(self) -> str:
        """Name of this machine, as the fleet knows it."""
        return socket.gethostname()

    @cached_property
    def settings(self) -> "Settings":
        """What the operator set; read when first needed, since reading it takes longer than most verbs.

        Raises:
            InvalidError: a setting is not allowed.
        """
        from config.settings import SettingsError, load

        try:
            return load()
        except SettingsError as error:
            raise InvalidError(str(error)) from error

    @cached_property
    def content(self) -> LocalStore:
        """The content store."""
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
    def containers(self) -> Containers:
        """The containers."""
        return Containers(self.database, self.namespace)

    @cached_property
    def leases(self) -> Leases:
        """The leases."""
        return Leases(self.database, namespace=self.namespace)

    @cached_property
    def scans(self) -> "Scans":
        """What the layers mean, remembered for a while."""
        from prestow.layers.scans import Scans

        return Scans(self.content, self.limits)

    @cached_property
    def limits(self) -> "Limits":
        """What a layer may be at most."""
        from prestow.layers.limits import Limits

        return Limits(
            max_layer_bytes=self.settings.max_layer_bytes,
            max_ratio=self.settings.max_layer_ratio,
            max_entries=self.settings.max_layer_entries,
            max_depth=self.settings.max_layer_depth,
        )

    @cached_property
    def sources(self) -> "Sources":
        """Opens registries and layouts; keeps connections and tokens for the whole process."""
        from config.proxies import proxy_variables
        from prestow.registry.credentials import DockerConfig
        from prestow.registry.hosts import Options
        from prestow.registry.proxy import Proxies
        from prestow.registry.source import Sources

        options = Options(
            insecure=frozenset(self.settings.insecure_registries),
            trusted=frozenset(self.settings.trusted_hosts),
            proxies=Proxies(*proxy_variables()),
        )
        return Sources(options, credentials=DockerConfig(self.settings.docker_config).find)

    def source(self, reference: str) -> "Source":
        """Return the source that a reference names.

        Raises:
            InvalidError: neither a reference nor a layout.
        """
        return self.sources.open(parse_source(reference))

    @cached_property
    def snapshotters(self) -> "tuple[Driver, ...]":
        """All drivers, whether they work here or not: enough to list and to remove what they have."""
        from prestow.snapshots.drivers.all import drivers

        durable = self.settings.durability == "full"
        return drivers(self.home, self.database, self.content, durable=durable, scan=self.scans.tree)

    def snapshotter(self, driver: str = "auto") -> "Driver":
        """Return the snapshotter of a driver; ``auto`` takes the setting, and then what works best here.

        Raises:
            UnsupportedError: it does not work here; the message says why.
        """
        from prestow.snapshots.drivers.probe import choose

        by_name = {snapshotter.driver: snapshotter for snapshotter in self.snapshotters}
        return by_name[choose(self.home / "snapshots", self.settings.driver if driver == "auto" else driver)]

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

    def holds_documents(self, target: Descriptor, platform: Platform) -> bool:
        """Return whether index, manifest and config of an image are here, undamaged."""
        try:
            find_image(self.content, target, platform)
        except PrestowError:
            return False
        return True

    def replacement(self, layer: Layer) -> Digest | None:
        """Return the blob that makes a layer's own one needless: its diff blob, where the setting keeps no others."""
        return None if self.settings.keep_blobs else layer.diff_id

    def holds_blob(self, layer: Layer) -> bool:
        """Return whether a layer's blob is here, or what makes it needless."""
        if self.content.has(layer.descriptor.digest, layer.descriptor.size):
            return True
        needless = self.replacement(layer)
        return needless is not None and self.content.has(needless)

    def holds_download(self, layer: Layer) -> bool:
        """Return whether a layer's bytes are here, as a blob or as a complete ingest, or are not needed."""
        if self.holds_blob(layer):
            return True
        status = self.content.status(layer_ref(layer))
        return status is not None and status.sealed

    def is_tagged(self, name: str, target: Descriptor, source: str | None) -> bool:
        """Return whether a name points to a target that is here, and says that it came from ``source``."""
        try:
            record = self.images.get(name)
        except NotFoundError:
            return False
        same = record.target.digest == target.digest and record.labels.get(SOURCE) == source
        return same and self.content.has(target.digest, target.size)

    def recover(self, *, whole: bool = False) -> None:
        """Finish or remove what dead processes left; quick where nothing is, unless the ``whole`` is looked at."""
        from prestow.runtime.binary import Runtime, find_runtime
        from prestow.store.recovery import recover

        def runtime() -> Runtime:
            return find_runtime(self.settings.runtime)

        recover(self.home, self.content, self.database, self.snapshotters, runtime, whole=whole)

    def make_room(self) -> None:
        """Make it possible to remove things on a disk that is full: the database cannot even be opened there."""
        Reserve(self.home / "metadata.db").make_room()

    def close(self) -> None:
        """Close connections to registries; what is closed is opened again when it is needed."""
        if "sources" in self.__dict__:
            self.sources.close()

    def lease(self, owner: str) -> AbstractContextManager[str]:
        """Hold a lease for a block, and give its ID; what others left that died is put in order first."""
        self.recover()
        return self.leases.during(owner, self.settings.lease_hours * 3600)

    def unfinished(self, owner: str) -> AbstractContextManager[str]:
        """Hold a lease for work that can be gone on with, as :meth:`lease`; see :meth:`Leases.unfinished`."""
        self.recover()
        return self.leases.unfinished(owner, self.settings.ingest_days * 24 * 3600)

    def protect(self, lease: str, image: Image) -> None:
        """Put everything that an image is, or will be, under a lease."""
        documents = (image.target.digest, image.manifest.digest, image.config.digest)
        blobs = [digest for layer in image.layers for digest in (layer.descriptor.digest, layer.diff_id)]
        refs = [ref for layer in image.layers for ref in (layer_ref(layer), f"diff-{layer.diff_id}")]
        self.leases.add(lease, "content", [*documents, *blobs])
        self.leases.add(lease, "ingest", refs)
        self.leases.add(lease, "snapshot", [layer.chain_id for layer in image.layers])


def open_node(home: str | Path, namespace: str | None = None) -> Node:
    """Open a store, or make it; once in a process for each namespace.

    Args:
        home: its folder.
        namespace: whose names are seen; that of the environment if not given.

    Raises:
        InvalidError: not a store, or one that others may write to, or not a namespace.
        UnsupportedError: a newer prestow made it.
        StorageError: the disk failed.
    """
    return _open(Path(home), check_namespace(namespace_or_default(namespace)))


@cache
def _open(home: Path, namespace: str) -> Node:
    return Node(home, open_folder(home), namespace)
