"""What a runtime of the host is, as far as a hand-over is concerned.

    look    what it is, where it keeps things, and in which form it can take an image
    give    the image, without a network, and without a second copy where files can be shared
    prove   ask the runtime itself whether it would use the image
    undo    take back the names and the pin that we gave

Implemented by :mod:`.containerd.runtime`, :mod:`.docker` and :mod:`.podman.runtime`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from prestow.content.store import Progress
from prestow.digest import Digest
from prestow.metadata.handed_over import HandedOver
from prestow.oci.image import Image
from prestow.reference import Reference


def unheard(_: int) -> None:
    """Take no notice."""


class Form(StrEnum):
    """How a runtime keeps the layers of an image that it was given."""

    LINKED = "linked"
    """As hard links to our diff blobs and metadata images; nothing is copied."""
    APPLIED = "applied"
    """Unpacked by the runtime itself, from hard links to our blobs."""
    MOUNTED = "mounted"
    """As the mounted files of our store; nothing is copied, and the image is needed here for as long."""


@dataclass(frozen=True, slots=True)
class Look:
    """A runtime, as it describes itself.

    Attributes:
        runtime: its kind, ``containerd``, ``docker`` or ``podman``.
        version: of it.
        namespace: whose images are meant, in the runtime's own sense; empty if it has no such thing.
        snapshotter: which its containers use; podman says storage driver.
    """

    runtime: str
    version: str
    namespace: str
    snapshotter: str


@dataclass(frozen=True, slots=True)
class Offer:
    """An image that is here, as it is to be known to a runtime.

    Attributes:
        name: its reference.
        image: everything of it that is here.
        pin: whether the runtime's own garbage collection is to leave it.
        force: whether the name is taken from another image that bears it there.
        ours: digests that we gave the runtime under this name before; those may be replaced.
    """

    name: str
    image: Image
    pin: bool = False
    force: bool = False
    ours: frozenset[Digest] = frozenset()

    @property
    def repository(self) -> str:
        """The name without tag and digest."""
        return Reference.parse(self.name).name

    @property
    def names(self) -> list[str]:
        """The names by which containers may ask for the image: config digest, repository and digest, tag if any."""
        tag = Reference.parse(self.name).tag
        digest = f"{self.repository}@{self.image.target.digest}"
        return [self.image.config.digest, digest, *([] if tag is None else [f"{self.repository}:{tag}"])]


@dataclass(frozen=True, slots=True)
class Given:
    """What a hand-over did.

    Attributes:
        form: how the runtime keeps the layers now.
        why: why not in the better form; empty if it is the better one.
        names: that stand for the image there.
    """

    form: Form
    why: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a runtime said of one image when it was asked.

    Attributes:
        name: the image, by its reference.
        resolves: for each name by which containers may ask for the image, whether the runtime finds this image by it.
        unpacked: whether the snapshotter that containers use has all its layers.
        pinned: whether the runtime's garbage collection leaves it.
        faults: why a container would not start from it at once; empty if one would.
    """

    name: str
    resolves: dict[str, bool]
    unpacked: bool
    pinned: bool
    faults: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether a container that starts now uses the image as it was handed over."""
        return not self.faults


class Runtime(Protocol):
    """A runtime of this host; every method may raise UnavailableError and RuntimeFailedError of the runtime."""

    @property
    def runtime(self) -> str:
        """Its kind, ``containerd``, ``docker`` or ``podman``."""

    @property
    def address(self) -> Path:
        """Where it is reached."""

    @property
    def namespace(self) -> str:
        """Whose images are meant, in the runtime's own sense."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where it keeps what may be links to our files."""

    def look(self) -> Look:
        """Ask what the runtime is.

        Raises:
            UnsupportedError: it is not there, or nothing can be handed over to it.
            InvalidError: a setting does not fit it.
        """

    def form(self) -> tuple[Form, str]:
        """Return how it would keep the layers of an image, and why not in the better form; raises as ``look``."""

    def give(self, offer: Offer, progress: Progress = unheard) -> Given:
        """Let it have an image; success for what it has. ``progress`` is told of each layer's compressed bytes.

        Raises:
            AlreadyExistsError: it has another image of this name, which we did not give.
            PreconditionError: something of the image is not in the store.
            ExhaustedError: its disk is full.
        """

    def prove(self, offers: Sequence[Offer], *, patient: bool = False) -> list[Proof]:
        """Ask whether it would use these images; ``patient``: it may need a moment to learn of what it was given."""

    def undo(self, handed_over: HandedOver, shared: frozenset[str] = frozenset()) -> list[str]:
        """Take back the names that still stand for what we gave, but for those that are shared, and return them."""

    def unpin(self, handed_over: HandedOver) -> None:
        """Take back the pin of an image whose names stay."""

    def last_used(self) -> dict[str, float]:
        """Return when a container was last made of each image, by name, in seconds since the epoch."""

    def close(self) -> None:
        """Close the connection."""
