"""The names by which containers ask containerd for an image, and the labels by which CRI knows it.

    sha256:…          digest of the config: the image ID; bears the pin
    REPOSITORY@DIGEST
    REPOSITORY:TAG    last

CRI resolves each form only if an image of that name exists. In other namespaces clients list every name as an image, so
an image has only the one there by which it was pulled. A name that stands for another image is moved only where that
image came from us, or a person wants it.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, NotFoundError, printable
from prestow.handover.containerd.client import Client
from prestow.handover.runtime import Offer
from prestow.oci.descriptor import Descriptor

CRI_NAMESPACE = "k8s.io"
"""The one namespace whose images CRI sees."""

MANAGED = {"io.cri-containerd.image": "managed"}
PINNED = {"io.cri-containerd.pinned": "pinned"}


def names_of(offer: Offer, namespace: str) -> list[str]:
    """Return the names of an image in a namespace, in the order in which they are written."""
    return offer.names if namespace == CRI_NAMESPACE else offer.names[-1:]


def check_names(client: Client, offer: Offer) -> None:
    """Refuse to move a name that is not ours.

    Raises:
        AlreadyExistsError: containerd has another image of that name, which we did not give.
    """
    name = offer.names[-1]
    known = client.find("Images.Get", name=name)
    may_be = {offer.image.target.digest, *offer.ours}
    if known is not None and known.image.target.digest not in may_be and not offer.force:
        raise AlreadyExistsError(
            f"{name}: containerd has it as {printable(known.image.target.digest)}, not as {offer.image.target.digest}; "
            "hand it over with --force to let it stand for this image"
        )


def write_names(client: Client, offer: Offer) -> list[str]:
    """Let all names of an image stand for it, and return them.

    Raises:
        AlreadyExistsError: as :func:`check_names`.
    """
    check_names(client, offer)
    names = names_of(offer, client.namespace)
    for name in names:
        labels = MANAGED | (PINNED if offer.pin and name == names[0] else {})
        _write(client, name, offer.image.target, labels)
    return names


def _write(client: Client, name: str, target: Descriptor, labels: Mapping[str, str]) -> None:
    described = {"media_type": target.media_type, "digest": target.digest, "size": target.size}
    image = {"name": name, "target": described, "labels": dict(labels)}
    known = client.find("Images.Get", name=name)
    if known is None:
        try:
            client.call("Images.Create", image=image)
        except AlreadyExistsError:
            known = client.call("Images.Get", name=name)
    if known is None or _bears(known.image, target, labels):
        return
    paths = ["target", *(f"labels.{key}" for key in labels)]
    client.call("Images.Update", image=image, update_mask={"paths": paths})


def _bears(image: Any, target: Descriptor, labels: Mapping[str, str]) -> bool:
    """Whether a name of containerd is as it should be already."""
    present = dict(image.labels)
    return image.target.digest == target.digest and all(present.get(key) == value for key, value in labels.items())


def take_back(client: Client, names: Iterable[str], target: Digest) -> list[str]:
    """Remove those of some names that still stand for what we gave, the last one first, and return them."""
    taken = []
    for name in reversed(list(names)):
        known = client.find("Images.Get", name=name)
        if known is not None and known.image.target.digest == target:
            with suppress(NotFoundError):
                client.call("Images.Delete", name=name)
                taken.append(name)
    return taken


def unpin(client: Client, name: str, target: Digest) -> None:
    """Let the garbage collection of Kubernetes remove an image again, if the name still stands for what we gave."""
    known = client.find("Images.Get", name=name)
    if known is not None and known.image.target.digest == target:
        # an empty label is none; the target is not changed, but containerd 2.3 dies of a message without one
        image = {"name": name, "target": known.image.target, "labels": dict.fromkeys(PINNED, "")}
        client.call("Images.Update", image=image, update_mask={"paths": [f"labels.{key}" for key in PINNED]})
