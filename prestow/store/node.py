"""One opened store: every room wired together from the host's settings.

This is the only room that reads settings. A process opens a store once (:func:`open_node`); that is cheap enough for
verbs that only read, which need neither settings nor any client: :mod:`.opened` is enough for them.
"""

from contextlib import AbstractContextManager
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from config.home import namespace_or_default
from prestow.errors import InvalidError
from prestow.metadata.namespace import check_namespace
from prestow.store.folder import open_folder
from prestow.store.opened import OpenedStore

if TYPE_CHECKING:
    from config.runtimes import ContainerdPlace
    from config.settings import Settings
    from prestow.layers.scans import Scans
    from prestow.registry.credentials import CredentialFiles
    from prestow.registry.health import Health
    from prestow.registry.hosts import Options
    from prestow.registry.pacing import Pacing
    from prestow.registry.source import Source, Sources
    from prestow.snapshots.maintained import Maintained


class Node(OpenedStore):
    """One store of one host, opened, and wired from the settings as they are needed."""

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

    @property
    def host(self) -> str:
        """Name of this host in the fleet."""
        return self.settings.node_name or super().host

    @property
    def containerd(self) -> "ContainerdPlace":
        """The containerd of this host that images are handed over to; read without the other settings.

        Raises:
            InvalidError: the settings file cannot be read.
        """
        from config.runtimes import containerd_place

        try:
            return containerd_place()
        except ValueError as error:
            raise InvalidError(str(error)) from error

    @property
    def named_runtime(self) -> str | None:
        """The runtime that images are handed over to by the settings; None if they name none. Raises as above."""
        from config.runtimes import named_runtime

        try:
            return named_runtime()
        except ValueError as error:
            raise InvalidError(str(error)) from error

    @cached_property
    def scans(self) -> "Scans":
        """What the layers mean, remembered for a while, and what one may be at most."""
        from prestow.layers.limits import Limits
        from prestow.layers.scans import Scans

        limits = Limits(
            max_layer_bytes=self.settings.max_layer_bytes,
            max_ratio=self.settings.max_layer_ratio,
            max_entries=self.settings.max_layer_entries,
            max_depth=self.settings.max_layer_depth,
        )
        return Scans(self.content, limits)

    @cached_property
    def sources(self) -> "Sources":
        """Opens registries and layouts; keeps connections and tokens for the whole process."""
        from prestow.layers.limits import Limits
        from prestow.registry.archive import Scratch
        from prestow.registry.credentials import Credentials
        from prestow.registry.source import Sources

        files = self.credential_files
        credentials = Credentials(files.find, files.places)
        limits = Limits(max_layer_bytes=self.settings.max_image_bytes, max_ratio=self.settings.max_layer_ratio)
        scratch = Scratch(self.home, limits)
        return Sources(
            self.registry_options, credentials=credentials, health=self.health, pacing=self.pacing, scratch=scratch
        )

    @property
    def credential_files(self) -> "CredentialFiles":
        """Where the logins at registries are."""
        from config.credentials import credential_places
        from prestow.registry.credentials import CredentialFiles

        places = credential_places(self.settings.docker_config)
        return CredentialFiles(places.files, places.text, places.required, places.dockercfg, login=places.login)

    @cached_property
    def health(self) -> "Health":
        """Which mirrors are set aside."""
        from prestow.registry.health import Health

        return Health(self.home / "registries")

    @cached_property
    def pacing(self) -> "Pacing":
        """What each server of a registry is asked to bear."""
        from prestow.registry.pacing import Pacing

        return Pacing(self.home / "registries")

    @property
    def registry_options(self) -> "Options":
        """How registries are spoken to."""
        from config.proxies import proxy_variables
        from prestow.registry.hosts import Options, Timeouts
        from prestow.registry.proxy import Proxies

        settings = self.settings
        return Options(
            directories=settings.hosts_dirs,
            insecure=frozenset(settings.insecure_registries),
            trusted=frozenset(settings.trusted_hosts),
            foreign=frozenset(settings.foreign_layer_hosts),
            proxies=Proxies(*proxy_variables()),
            timeouts=Timeouts(
                connect=settings.registry_connect_seconds,
                document=settings.registry_document_seconds,
                blob=settings.registry_blob_seconds,
                idle=settings.registry_idle_seconds,
                rate=settings.registry_least_rate,
            ),
            connections=settings.registry_connections,
            rate=settings.registry_rate,
            chunk=settings.registry_chunk_bytes,
        )

    def source(self, reference: str, credentials: str | None = None) -> "Source":
        """Return the source that a reference names; ``credentials`` are a name, see :meth:`Sources.open`.

        Raises:
            InvalidError: neither a reference nor a layout.
        """
        from prestow.reference import parse_source

        return self.sources.open(parse_source(reference), credentials)

    @cached_property
    def snapshotters(self) -> "tuple[Maintained, ...]":
        """All drivers, whether they work here or not: enough to list and to remove what they have."""
        from prestow.snapshots.drivers.all import drivers

        durable = self.settings.durability == "full"
        return drivers(self.home, self.database, self.content, durable=durable, scan=self.scans.tree)

    def snapshotter(self, driver: str = "auto") -> "Maintained":
        """Return the snapshotter of a driver; ``auto`` takes the setting, and then what works best here.

        Raises:
            UnsupportedError: it does not work here; the message says why.
        """
        from prestow.snapshots.drivers.probe import choose

        by_name = {snapshotter.driver: snapshotter for snapshotter in self.snapshotters}
        return by_name[choose(self.home / "snapshots", self.settings.driver if driver == "auto" else driver)]

    def recover(self, *, whole: bool = False) -> None:
        """Finish or remove what dead processes left; quick where nothing is, unless the ``whole`` is looked at."""
        from prestow.runtime.binary import Runtime, find_runtime
        from prestow.store.recovery import recover

        def runtime() -> Runtime:
            return find_runtime(self.settings.runtime)

        recover(self.home, self.content, self.database, self.snapshotters, runtime, whole=whole)

    def close(self) -> None:
        """Close connections to registries; what is closed is opened again when it is needed."""
        if "sources" in self.__dict__:
            self.sources.close()

    def lease(self, owner: str) -> AbstractContextManager[str]:
        """Hold a lease for a block, and give its ID; what others left that died is put in order first."""
        self.recover()
        return self.leases.during(owner, self.settings.lease_hours * 3600)

    def unfinished(self, owner: str) -> AbstractContextManager[str]:
        """Hold a lease for work that can resume, as :meth:`lease`; see :meth:`Leases.unfinished`."""
        self.recover()
        return self.leases.unfinished(owner, self.settings.ingest_days * 24 * 3600)


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
