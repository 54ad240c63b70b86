"""What the flows return: small frozen values, ready for ``dataclasses.asdict`` and JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prestow.fleet.verdict import HostVerdict
from prestow.handover.hand_over import HandOver
from prestow.registry.health import Aside
from prestow.registry.quota import Quota


@dataclass(frozen=True, slots=True)
class PulledLayer:
    """One layer after a pull; without unpacking, one blob, which may be a config.

    Attributes:
        size: compressed bytes, as the manifest says.
        diff_id: digest of the uncompressed tar; None without unpacking, as ``chain_id``.
        fetched_bytes: bytes that this run transferred; 0 when the layer was here.
        state: how far the layer has come: ``missing``, ``fetched``, ``stored`` or ``applied``.
        missing_bytes: compressed bytes that are still to be fetched.
    """

    digest: str
    media_type: str
    size: int
    diff_id: str | None
    chain_id: str | None
    fetched_bytes: int
    state: str
    missing_bytes: int


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a pull would do, as a dry run finds it.

    Attributes:
        server: ``host[:port]`` that answered what the reference points to, or the path of the layout; None if no server
            was asked, as the digest is here.
        set_aside: mirrors of the registry that are not asked for now, after failures.
        fetch_bytes: bytes of layers to fetch.
        reuse_bytes: bytes of layers that are here.
        needed_bytes: space that the pull takes at its peak, an estimate.
        free_bytes: space that it may take.
        fits: whether the pull would be allowed to begin.
        quota: how many requests the registry will still answer; None if it does not say.
    """

    server: str | None
    set_aside: tuple[Aside, ...]
    fetch_bytes: int
    reuse_bytes: int
    needed_bytes: int
    free_bytes: int
    fits: bool
    quota: Quota | None


@dataclass(frozen=True, slots=True)
class Pulled:
    """An image after ``pull``.

    Attributes:
        name: the name that points to it, once ``checkpoint`` is ``tagged``.
        digest: digest of the target, an index or a manifest; empty when the pull stopped before it was known.
        checkpoint: the last lifecycle point that was reached.
        fetched_bytes: bytes of layers that this run transferred.
        reused_bytes: bytes of layers that were here.
        seconds: duration of each step that ran, summed over layers, and ``total``, wall time of the run.
        foreseen: what the pull would do; of a dry run only.
        handed_over: the image as a runtime of the host has it now; None if it was handed over to none.
    """

    name: str
    digest: str
    manifest_digest: str | None
    platform: str | None
    chain_id: str | None
    checkpoint: str
    layers: tuple[PulledLayer, ...]
    fetched_bytes: int
    reused_bytes: int
    seconds: Mapping[str, float]
    foreseen: Foreseen | None = None
    handed_over: HandOver | None = None


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle on disk.

    Attributes:
        id: container ID.
        directory: the bundle's folder, with ``config.json`` and ``rootfs``.
        driver: the snapshotter that shows ``rootfs``; ``copy`` where it is a full copy.
        warnings: what of the image's config was left out, and why.
    """

    id: str
    image: str
    digest: str
    directory: str
    driver: str
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ran:
    """A container after its process ended: ``status`` is the process's exit status, 128+n for signal n."""

    id: str
    image: str
    status: int
    removed: bool
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class PrepulledImage:
    """One image of a pre-pull: ``error`` is None when it is here."""

    reference: str
    name: str | None
    digest: str | None
    fetched_bytes: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Prepulled:
    """What a pre-pull left on this host, image by image in the order asked for."""

    host: str
    images: tuple[PrepulledImage, ...]

    @property
    def failed(self) -> int:
        """Number of images that are not here."""
        return sum(image.error is not None for image in self.images)


End = Literal["complete", "nothing-to-do", "incomplete", "stopped", "missed-window"]
"""How a rollout ended."""


@dataclass(frozen=True, slots=True)
class RolledOut:
    """What a rollout did.

    Attributes:
        image_set: name of the set.
        generation: that was applied.
        rollout: its ID; empty if none was needed.
        end: ``complete``: every host has all images; ``nothing-to-do``: they had them before; ``incomplete``: some are
            offline or slow, within the bounds; ``stopped``: the failure budget was used up, and hosts of later waves
            were not asked; ``missed-window``: it would have begun too late, and did nothing.
        hosts: verdicts, host by host, in the order of the waves.
        held_back: the newer generation of the lock, which a rollback holds back; None if there is none.
        reason: why it ended so, in a sentence.
    """

    image_set: str
    generation: int
    rollout: str
    end: End
    hosts: tuple[HostVerdict, ...]
    held_back: int | None
    reason: str
