"""Ask containerd whether a container would use an image at once: what CRI resolves, and what its snapshotter has.

Kubernetes' containers ask CRI, which sees the names of its one namespace by events, a moment after they are written;
in another namespace, clients ask the image service itself. Views are never made for this: those of erofs chains bring
some versions down (containerd#13987).
"""

from collections.abc import Iterator
from typing import Any

from prestow.cancellation import pause
from prestow.errors import NotFoundError, UnsupportedError, printable
from prestow.handover.containerd.client import Client
from prestow.handover.containerd.looking import CRI_NAMESPACE
from prestow.handover.containerd.names import PINNED, names_of
from prestow.handover.containerd.snapshots import Snapshots
from prestow.handover.runtime import Offer, Proof

_WAITS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Seconds between looks at CRI, which learns of a new name by an event."""


def prove(client: Client, snapshotter: str, offer: Offer, *, patient: bool) -> Proof:
    """Ask about one image; ``patient``: after a hand-over, CRI may need a moment."""
    proof = _ask(client, snapshotter, offer)
    for seconds in _WAITS if patient else ():
        if proof.holds:
            break
        pause(seconds)
        proof = _ask(client, snapshotter, offer)
    return proof


def _ask(client: Client, snapshotter: str, offer: Offer) -> Proof:
    names = names_of(offer)
    found = {name: _resolve(client, name, offer) for name in names}
    unpacked = Snapshots(client, snapshotter, "").has(offer.image.chain_id)
    pinned = any(each is not None and each[1] for each in found.values())
    faults = [*_faults(found, offer)]
    if not unpacked:
        faults.append(f"its layers are not unpacked in the snapshotter {printable(snapshotter)}, which containers use")
    if offer.pin and not pinned:
        faults.append("it is not pinned; containerd pins images since 1.7")
    resolves = {name: each is not None and each[0] == "" for name, each in found.items()}
    return Proof(offer.name, resolves, unpacked, pinned, tuple(faults))


def _faults(found: dict[str, tuple[str, bool] | None], offer: Offer) -> Iterator[str]:
    for name, each in found.items():
        if each is None:
            yield f"{name} is not known there"
        elif each[0]:
            yield f"{name} is another image there, {each[0]}, not {offer.image.target.digest}"


def _resolve(client: Client, name: str, offer: Offer) -> tuple[str, bool] | None:
    """Return which other image a name stands for, empty if it is this one, and whether it is pinned; None if none."""
    known = client.find("Images.Get", name=name)
    if known is None:
        return None
    target, labels = known.image.target.digest, dict(known.image.labels)
    other = "" if target == offer.image.target.digest else printable(target)
    if client.namespace != CRI_NAMESPACE or other:
        return other, all(labels.get(key) == value for key, value in PINNED.items())
    seen = _cri_image(client, name)
    if seen is False:  # no CRI
        return other, all(labels.get(key) == value for key, value in PINNED.items())
    if seen is None:
        return None
    return ("" if seen.id == offer.image.config.digest else printable(seen.id)), bool(seen.pinned)


def _cri_image(client: Client, name: str) -> Any:
    """Return the image that CRI finds by a name; None if none, False without CRI."""
    try:
        status = client.call("Cri.ImageStatus", image={"image": name})
    except UnsupportedError:
        return False
    except NotFoundError:
        return None
    return status.image if status.HasField("image") else None
