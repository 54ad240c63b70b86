"""Ask containerd whether a container would use images at once: what CRI resolves, and what its snapshotter has.

Kubernetes' containers ask CRI, which sees the names of its one namespace by events, a moment after they are written;
in another namespace, clients ask the image service itself. Views are never made for this: those of erofs chains bring
some versions down (containerd#13987).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prestow.cancellation import pause
from prestow.errors import NotFoundError, UnsupportedError, printable
from prestow.handover.containerd.client import Client
from prestow.handover.containerd.names import CRI_NAMESPACE, PINNED, names_of
from prestow.handover.containerd.snapshots import Snapshots
from prestow.handover.runtime import Offer, Proof

_WAITS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Seconds between looks at CRI, which learns of a new name by an event."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What containerd knows by some names.

    Attributes:
        images: of the image service, by name.
        seen: by CRI, by each name that it resolves; None where CRI is not asked.
    """

    images: Mapping[str, Any]
    seen: Mapping[str, Any] | None

    def resolve(self, name: str, offer: Offer) -> str | None:
        """Return which other image a name stands for, empty if it is the one; None if no container finds it by that."""
        image = self.images.get(name)
        if image is None:
            return None
        if image.target.digest != offer.image.target.digest:
            return printable(image.target.digest)
        if self.seen is None:
            return ""
        seen = self.seen.get(name)
        if seen is None:
            return None
        return "" if seen.id == offer.image.config.digest else printable(seen.id)

    def is_pinned(self, names: Sequence[str]) -> bool:
        """Whether an image is pinned by one of its names; by what CRI says of it, where that is asked."""
        if self.seen is not None:
            return any(self.seen[name].pinned for name in names if name in self.seen)
        labels = [dict(self.images[name].labels) for name in names if name in self.images]
        return any(PINNED.items() <= each.items() for each in labels)


def prove(client: Client, snapshotter: str, offers: Sequence[Offer], *, patient: bool) -> list[Proof]:
    """Ask about images; ``patient``: after a hand-over, CRI may need a moment."""
    proofs = _ask(client, snapshotter, offers)
    for seconds in _WAITS if patient else ():
        if all(proof.holds for proof in proofs):
            break
        pause(seconds)
        proofs = _ask(client, snapshotter, offers)
    return proofs


def _ask(client: Client, snapshotter: str, offers: Sequence[Offer]) -> list[Proof]:
    names = [name for offer in offers for name in names_of(offer, client.namespace)]
    known = _of_names(client, names) if len(offers) == 1 else _of_all(client)
    snapshots = Snapshots(client, snapshotter)
    return [_proof(known, snapshots, offer, names_of(offer, client.namespace)) for offer in offers]


def _proof(known: _Known, snapshots: Snapshots, offer: Offer, names: Sequence[str]) -> Proof:
    found = {name: known.resolve(name, offer) for name in names}
    unpacked, pinned = snapshots.has(offer.image.chain_id), known.is_pinned(names)
    faults = [*_faults(found, offer)]
    if not unpacked:
        faults.append(f"its layers are not unpacked in snapshotter {snapshots.snapshotter}, which containers use")
    if offer.pin and not pinned:
        faults.append("it is not pinned; containerd pins images since 1.7")
    resolves = {name: other == "" for name, other in found.items()}
    return Proof(offer.name, resolves, unpacked, pinned, tuple(faults))


def _faults(found: Mapping[str, str | None], offer: Offer) -> Iterator[str]:
    for name, other in found.items():
        if other is None:
            yield f"{name} is not known there"
        elif other:
            yield f"{name} is another image there, {other}, not {offer.image.target.digest}"


def _of_names(client: Client, names: Sequence[str]) -> _Known:
    """Ask for a few names, each by itself, as containers do."""
    images = {name: answer.image for name in names if (answer := client.find("Images.Get", name=name)) is not None}
    if client.namespace != CRI_NAMESPACE:
        return _Known(images, None)
    seen = {}
    for name in images:
        try:
            status = client.call("Cri.ImageStatus", image={"image": name})
        except UnsupportedError:  # there is no CRI
            return _Known(images, None)
        except NotFoundError:
            continue
        if status.HasField("image"):
            seen[name] = status.image
    return _Known(images, seen)


def _of_all(client: Client) -> _Known:
    """Ask for everything that there is, in two calls."""
    images = {image.name: image for image in client.call("Images.List").images}
    if client.namespace != CRI_NAMESPACE:
        return _Known(images, None)
    try:
        listed = client.call("Cri.ListImages").images
    except UnsupportedError:
        return _Known(images, None)
    return _Known(images, {name: each for each in listed for name in (each.id, *each.repo_tags, *each.repo_digests)})
