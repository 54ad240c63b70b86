"""What a source on disk has: images, each by its names, and their blobs (in a layout or in an archive)."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from prestow.digest import Digest
from prestow.errors import InvalidError, NotFoundError, printable
from prestow.oci.descriptor import Descriptor
from prestow.reference import LayoutReference
from prestow.registry.layout_files import Run

_SHOWN = 20  # names in an error


@dataclass(frozen=True, slots=True)
class Listed:
    """An image that there is.

    Attributes:
        names: its names in there; several entries may be one image.
        key: what two entries of the same image have in common.
        describe: returns the descriptor of its index or manifest; raises a ``PrestowError`` if a document is broken.
    """

    names: tuple[str, ...]
    key: str
    describe: Callable[[], Descriptor]


class Contents(Protocol):
    """Lists the images of a layout or an archive, and opens their blobs."""

    def images(self) -> Sequence[Listed]:
        """List the images in their order.

        Raises:
            NotFoundError: there is no list.
            InvalidError: it breaks a rule.
            UnsupportedError: it is of another version.
        """

    def open(self, digest: Digest) -> AbstractContextManager[Run]:
        """Open a blob.

        Raises:
            NotFoundError: there is none, or it is not a regular file.
            StorageError: it cannot be read.
        """


def choose(reference: LayoutReference, listed: Sequence[Listed]) -> Listed:
    """Return the image that a reference means; in an archive also by a familiar form of a name that is in there.

    Raises:
        NotFoundError: none; the message lists what there is.
        InvalidError: several; likewise.
    """
    shown, index = printable(str(reference), 400), reference.index
    if index is not None:
        fitting = listed[index : index + 1]
    elif reference.ref is None:
        fitting = listed
    else:
        fitting = [image for image in listed if reference.ref in image.names]
        if not fitting and reference.transport != "oci":
            fitting = [image for image in listed if reference.canonical in image.names]
    found = {image.key: image for image in reversed(fitting)}  # the first entry of each image
    if len(found) == 1:
        return next(iter(found.values()))
    names = sorted({name for image in listed for name in image.names})
    names += [f"@{at}" for at, image in enumerate(listed) if not image.names]
    offer = ", ".join(map(printable, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "") or "none"
    if not found:
        raise NotFoundError(f"{shown}: no such image; it has {offer}")
    raise InvalidError(f"{shown}: means {len(found)} images; name one of: {offer}")
