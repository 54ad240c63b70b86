"""What a hand-over begins with: the images that are meant, and whether one is wanted at all."""

from collections.abc import Sequence

from prestow.errors import InvalidError
from prestow.handover.choose import check_client
from prestow.oci.artifact import Artifact
from prestow.oci.image import Image
from prestow.oci.lookup import find_image
from prestow.platforms import platform_or_host
from prestow.store.node import Node
from tasks.opened import open_node


def stored_images(home: str, namespace: str | None, names: Sequence[str]) -> list[tuple[str, Image]]:
    """Look images up by their names, for this host's platform, each once.

    Raises:
        NotFoundError: no such image.
        InvalidError: not a name.
        UnsupportedError: no container image.
    """
    node = open_node(home, namespace)
    records = {record.name: record for record in map(node.image, names)}
    return [(name, find_image(node.content, record.target, platform_or_host(None))) for name, record in records.items()]


def runtime_for(node: Node, runtime: str | None, *, pin: bool) -> str | None:
    """Return the runtime that pulled images are handed over to, by the parameter or the host's setting; None: none.

    Raises:
        InvalidError: the image is to be pinned, and handed over to none.
        UnsupportedError: what the hand-over needs is not installed. A runtime that does not run now may do so when the
            image is here.
    """
    chosen = node.settings.hand_over if runtime is None else runtime
    if chosen != "none":
        check_client(node, chosen)
        return chosen
    if pin:
        raise InvalidError("pin: the image is handed over to no runtime; add --hand-over, or set hand_over")
    return None


def container_image(node: Node, image: Image | Artifact, platform: str | None) -> Image:
    """Return an image that may have been stored without unpacking it, as a runtime is to unpack it.

    Raises:
        UnsupportedError: no container image.
    """
    if isinstance(image, Image):
        return image
    return find_image(node.content, image.target, platform_or_host(platform))
