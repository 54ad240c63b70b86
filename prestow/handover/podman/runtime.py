"""podman as a runtime that images are handed over to: files that it reads as an additional image store.

    look ─▶ mount ─▶ documents ─▶ index ─▶ proof: podman lists the image

podman never writes to that store, so no removal of its own reaches the image: it stays until it is taken back here. For
the same reason the image has to stay mounted: after a boot :meth:`Podman.mount` does that, before containers start.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from prestow.content.blobs import Blobs
from prestow.content.disk import make_folder, translated
from prestow.content.store import Progress
from prestow.errors import AlreadyExistsError, NotFoundError, PreconditionError, printable
from prestow.handover.podman.program import Program
from prestow.handover.podman.shown import Shown
from prestow.handover.podman.store import AdditionalStore, Index, StoredImage, StoredLayer, now
from prestow.handover.runtime import Form, Given, Look, Offer, Proof, unheard
from prestow.metadata.handed_over import HandedOver
from prestow.oci.image import Image
from prestow.snapshots.snapshotter import Snapshotter

_DRIVER = "overlay"
FOLDER = "podman"
"""Of the additional image store, in our own store."""


class Podman:
    """Implements :class:`prestow.handover.runtime.Runtime`."""

    runtime = "podman"
    namespace = ""
    folders: tuple[Path, ...] = ()

    def __init__(
        self,
        root: Path,
        content: Blobs,
        snapshotters: Callable[[], Sequence[Snapshotter]],
        chosen: Callable[[], Snapshotter],
    ) -> None:
        """Ask nothing yet.

        Args:
            root: of the additional image store.
            content: our blobs.
            snapshotters: opens those of our store.
            chosen: opens the one that unpacks images; that may take a trial.
        """
        self.address = root
        self._content, self._store = content, AdditionalStore(root)
        self._shown = Shown(self._store, snapshotters, chosen)

    @cached_property
    def _program(self) -> Program:
        """podman, which answers nothing while a store that its configuration names is missing."""
        with translated(f"making {self.address}"):
            make_folder(self.address)
        return Program()

    @cached_property
    def _look(self) -> Look:
        return Look(self.runtime, self._program.version, self.namespace, _DRIVER)

    def look(self) -> Look:
        """Ask what it is."""
        return self._look

    def form(self) -> tuple[Form, str]:
        """Return how it keeps images: as they are mounted from our store."""
        return Form.MOUNTED, ""

    @property
    def reads_it(self) -> bool:
        """Whether podman's configuration names our store, as far as an image that is in it shows."""
        ids = {each.id for each in self._program.images() if each.read_only}
        return not (index := self._store.read()).images or bool(ids & index.images.keys())

    @property
    def advice(self) -> str:
        """How podman comes to read our store."""
        if self._program.driver != _DRIVER:
            return f'set driver = "{_DRIVER}" in {self._program.config_file}, which now says {self._program.driver}'
        return (
            f'write additionalimagestores = ["{self.address}"] under [storage.options] in '
            f"/etc/containers/storage.conf (podman read {self._program.config_file})"
        )

    def give(self, offer: Offer, progress: Progress = unheard) -> Given:
        """Let it have an image."""
        if not all(self._content.has(layer.diff_id) for layer in offer.image.layers):
            raise PreconditionError(
                f"{printable(offer.name)}: podman reads what is unpacked here, and this image is not; pull it without "
                "--no-unpack"
            )
        with self._store.locked():
            index = self._store.read()
            self._take_name(offer, index)
            layer = self._shown.show(offer.image)
            documents = _documents(self._content, offer.image)
            image = _image(offer, layer, documents)
            self._store.write_documents(image.id, documents)
            self._drop_earlier(index, offer)
            index.put(image)
            index.layers.setdefault(layer, StoredLayer(layer, self._size(offer.image), image.created))
            self._store.write(index)
            self._tidy(index)
        progress(sum(layer.descriptor.size for layer in offer.image.layers))
        return Given(Form.MOUNTED, "", tuple(offer.names))

    def prove(self, offers: Sequence[Offer], *, patient: bool = False) -> list[Proof]:  # noqa: ARG002 - it never waits
        """Ask whether it would use these images."""
        known = self._program.images(anew=True)
        names = {name: each.id for each in known for name in (f"sha256:{each.id}", *each.names)}
        index = self._store.read()
        return [self._proof(offer, names, index) for offer in offers]

    def _proof(self, offer: Offer, names: Mapping[str, str], index: Index) -> Proof:
        wanted = offer.image.config.digest.encoded
        found = {name: names.get(name) for name in offer.names}
        faults = [
            f"{name} is another image there, sha256:{printable(other)}, not {offer.image.config.digest}"
            for name, other in found.items()
            if other not in (None, wanted)
        ]
        missing = [name for name, other in found.items() if other is None]
        ours = index.images.get(wanted)
        if ours is not None and not self._shown.is_shown(ours.layer):
            faults.append("it is not mounted; after a boot, run `prestow hand-over --mount`")
        elif ours is not None and missing and set(missing) <= {*ours.names, offer.image.config.digest}:
            faults.append(f"podman does not read {self.address}: {self.advice}")
        else:
            faults += [f"{name} is not known there" for name in missing]
        if ours is not None and offer.image.target.digest not in offer.ours:
            faults.append("its hand-over did not come to its end")
        resolves = {name: other == wanted for name, other in found.items()}
        return Proof(offer.name, resolves, wanted in names.values(), ours is not None, tuple(faults))

    def undo(self, handed_over: HandedOver, shared: frozenset[str] = frozenset()) -> list[str]:
        """Take back the names that still stand for what we gave, but for those that are shared.

        Raises:
            PreconditionError: a container of podman is made of the image, which could not start again.
        """
        with self._store.locked():
            index = self._store.read()
            mine = [name for name in handed_over.names if name not in shared]
            taken = [name for name in mine if index.named(name)]
            owners = {image.id: image for name in taken if (image := index.named(name))}
            for image in owners.values():
                index.drop(image.id, tuple(mine))
                if image.id not in index.images:
                    self._refuse_used(handed_over.name, image)
            self._store.write(index)
            self._tidy(index)
        return taken

    def unpin(self, handed_over: HandedOver) -> None:
        """Leave everything: what podman only reads, it never removes."""

    def mount(self) -> tuple[int, int]:
        """Mount every image again that was handed over and is not mounted, as after a boot.

        Returns:
            How many layers were mounted now, and how many there are.

        Raises:
            InvalidError: an index is damaged.
            NotFoundError: a layer has no view; the others are mounted.
            PreconditionError, UnsupportedError, StorageError: as :meth:`.Shown.show_again`.
        """
        if not self.address.is_dir():
            return 0, 0
        with self._store.locked():
            index = self._store.read()
            self._tidy(index)
            mounted, lost = 0, list[NotFoundError]()
            for layer in index.layers:
                try:
                    mounted += self._shown.show_again(layer)
                except NotFoundError as error:
                    lost.append(error)
        if lost:
            raise lost[0]
        return mounted, len(index.layers)

    def last_used(self) -> dict[str, float]:
        """Return when a container was last made of each image, by its ID."""
        found: dict[str, float] = {}
        for each in self._program.containers():
            name = f"sha256:{each.image}"
            found[name] = max(each.created, found.get(name, 0.0))
        return found

    def close(self) -> None:
        """Leave everything: each question is a process of its own."""

    def _size(self, image: Image) -> int:
        return sum(self._content.path(layer.diff_id).stat().st_size for layer in image.layers)

    def _take_name(self, offer: Offer, index: Index) -> None:
        """Refuse to move a name that is not ours; where that is wanted, podman's own store loses it.

        Raises:
            AlreadyExistsError: podman has another image of that name, which we did not give.
        """
        name = offer.names[-1]
        others = [each for each in self._program.images() if name in each.names]
        others = [each for each in others if each.id != offer.image.config.digest.encoded]
        ours = [each for each in others if (known := index.images.get(each.id)) and _gave(known, offer)]
        foreign = [each for each in others if each not in ours]
        if foreign and not offer.force:
            raise AlreadyExistsError(
                f"{name}: podman has it as sha256:{printable(foreign[0].id)}, not as {offer.image.config.digest}; "
                "hand it over with --force to let it stand for this image"
            )
        if any(not each.read_only for each in foreign):
            self._program.untag([name])

    def _drop_earlier(self, index: Index, offer: Offer) -> None:
        """Take back what was given under the offer's name before, unless containers are made of it."""
        for digest in offer.ours - {offer.image.target.digest}:
            name = f"{offer.repository}@{digest}"
            image = index.named(name)
            if image is not None and (set(image.names) - {name, *offer.names} or not self._containers_of(image)):
                index.drop(image.id, (name, *offer.names))

    def _refuse_used(self, name: str, image: StoredImage) -> None:
        if users := self._containers_of(image):
            raise PreconditionError(
                f"{printable(name)}: containers of podman are made of it ({', '.join(users[:5])}), and could "
                f"not start again; remove them with `podman rm {users[0]}` first"
            )

    def _containers_of(self, image: StoredImage) -> list[str]:
        return [each.name for each in self._program.containers() if each.image == image.id]

    def _tidy(self, index: Index) -> None:
        """Take away layers and documents that no image has any longer, or never got."""
        for layer in self._store.layers() - index.layers.keys():
            self._shown.hide(layer)
        self._store.remove_documents(index.images.keys())


def _gave(known: StoredImage, offer: Offer) -> bool:
    """Whether an image of our store is one that was given under the offer's name before."""
    return any(f"{offer.repository}@{digest}" in known.names for digest in offer.ours)


def _image(offer: Offer, layer: str, documents: Mapping[str, bytes]) -> StoredImage:
    image = offer.image
    digests = {"manifest": image.manifest.digest, image.config.digest: image.config.digest}
    digests |= {f"manifest-{each}": each for each in (image.manifest.digest, image.target.digest)}
    described = {key: (digests[key], len(data)) for key, data in documents.items()}
    names = tuple(name for name in offer.names if name != image.config.digest)
    return StoredImage(image.config.digest.encoded, image.manifest.digest, names, layer, described, now())


def _documents(content: Blobs, image: Image) -> dict[str, bytes]:
    """Return the documents of an image by the keys under which containers/storage looks for them."""
    manifest = content.read(image.manifest.digest)
    return {
        "manifest": manifest,
        f"manifest-{image.manifest.digest}": manifest,
        f"manifest-{image.target.digest}": content.read(image.target.digest),
        image.config.digest: content.read(image.config.digest),
    }
