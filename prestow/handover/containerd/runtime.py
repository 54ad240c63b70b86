"""containerd as a runtime that images are handed over to: the order of everything, under one lease.

    look ─▶ content ─▶ snapshots, each chain ID on the one below ─▶ names, last of all ─▶ proof

Killed at any point, the next hand-over finds what is there and goes on; what has no name goes with the lease.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from prestow.content.blobs import Blobs
from prestow.content.store import Progress
from prestow.handover.containerd.client import Client
from prestow.handover.containerd.content import Blobstore, give_image
from prestow.handover.containerd.looking import Plugins, form_for, look, plugins
from prestow.handover.containerd.names import check_names, take_back, unpin, write_names
from prestow.handover.containerd.proof import prove
from prestow.handover.containerd.snapshots import Files, NotLinkableError, Snapshots
from prestow.handover.runtime import Form, Given, Look, Offer, Proof, unheard
from prestow.metadata.handed_over import HandedOver

_LEASE_SECONDS = 3600.0
"""For which containerd's garbage collection leaves what was given, if this process dies."""

_OVERLAY = "overlayfs"
"""The snapshotter of which it is known how layers have to be mounted to be applied without their parents."""


class Containerd:
    """Implements :class:`prestow.handover.runtime.Runtime`."""

    runtime = "containerd"

    def __init__(
        self,
        address: Path,
        namespace: str,
        content: Blobs,
        files: Callable[[], Files | None],
        snapshotter: str | None = None,
    ) -> None:
        """Connect at the first call.

        Args:
            address: its socket.
            namespace: whose images are meant.
            content: our blobs.
            files: opens our snapshotter, if links to its files are possible; that may take a trial.
            snapshotter: that its containers use; None to ask.
        """
        self.address, self.namespace = address, namespace
        self._content, self._open_files, self._chosen = content, files, snapshotter
        self._client = Client(address, namespace)

    @cached_property
    def _plugins(self) -> Plugins:
        return plugins(self._client)

    @cached_property
    def _look(self) -> Look:
        return look(self._client, self._plugins, self._chosen)

    @cached_property
    def _files(self) -> Files | None:
        return self._open_files()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where it keeps what may be links to our files: its blobs, and the snapshots of its snapshotter."""
        roots = (self._plugins.content, self._plugins.snapshotters[self._look.snapshotter])
        return tuple(root for root in roots if root is not None)

    def look(self) -> Look:
        """Ask what it is."""
        return self._look

    def form(self) -> tuple[Form, str]:
        """Return how it would keep the layers of an image, and why not in the better form."""
        return form_for(self._look, self._plugins, self._content.root, linking=self._files is not None)

    def give(self, offer: Offer, progress: Progress = unheard) -> Given:
        """Let it have an image."""
        snapshotter = self._look.snapshotter
        check_names(self._client, offer)
        with self._client.leased(_LEASE_SECONDS) as unique:
            content = Blobstore(self._client, self._content, self._plugins.content, unique)
            give_image(content, offer.image, snapshotter)
            snapshots = Snapshots(self._client, snapshotter, unique, progress)
            form, why = self.form()
            if form is Form.LINKED and self._files is not None:
                try:
                    snapshots.link(offer.image, self._files)
                except NotLinkableError as error:
                    form, why = Form.APPLIED, str(error)
            if form is Form.APPLIED:
                rebasing = snapshotter == _OVERLAY and snapshotter in self._plugins.rebasing
                snapshots.apply(offer.image, content, rebasing=rebasing)
            names = write_names(self._client, offer)
        return Given(form, why, tuple(names))

    def prove(self, offers: Sequence[Offer], *, patient: bool = False) -> list[Proof]:
        """Ask whether it would use these images."""
        return prove(self._client, self._look.snapshotter, offers, patient=patient)

    def undo(self, handed_over: HandedOver, shared: frozenset[str] = frozenset()) -> list[str]:
        """Take back the names that still stand for what we gave, but for those that are shared."""
        mine = [name for name in handed_over.names if name not in shared]
        return take_back(self._client, mine, handed_over.digest)

    def unpin(self, handed_over: HandedOver) -> None:
        """Take back the pin of an image whose names stay."""
        for name in handed_over.names[:1]:
            unpin(self._client, name, handed_over.digest)

    def last_used(self) -> dict[str, float]:
        """Return when a container was last made of each image."""
        found: dict[str, float] = {}
        for each in self._client.call("Containers.List").containers:
            made = each.created_at.seconds + each.created_at.nanos / 1e9
            found[each.image] = max(made, found.get(each.image, 0.0))
        return found

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
