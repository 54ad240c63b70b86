"""An OCI image layout as a source: images move without a network (image-spec, image-layout.md).

    oci-layout            {"imageLayoutVersion": "1.0.0"}
    index.json            what there is, by name: annotation org.opencontainers.image.ref.name
    blobs/<algorithm>/<hex>

in a folder, or in a tar. ``docker save`` puts an image's full name into ``io.containerd.image.name`` and only its
tag into the other annotation; either is understood.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prestow.errors import InvalidError, MismatchError, NotFoundError, UnsupportedError, printable
from prestow.oci.descriptor import Descriptor
from prestow.oci.document import MAX_DOCUMENT, Record, load
from prestow.oci.index import Index
from prestow.oci.mediatypes import is_index, is_manifest
from prestow.reference import LayoutReference
from prestow.registry.container import Container, container

REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"
_VERSION = "1.0.0"
_MARKER = "oci-layout"
_SHOWN = 20  # names in an error


class LayoutSource:
    """Implements ``prestow.registry.source.Source`` for one reference.

    Args:
        reference: the layout, and the name in it.
    """

    def __init__(self, reference: LayoutReference) -> None:
        """Read nothing yet."""
        self._reference = reference
        self._opened: Container | None = None

    def resolve(self) -> Descriptor:
        """Look the name up in ``index.json``.

        Raises:
            NotFoundError: no such layout, or no such name in it.
            InvalidError: the name is ambiguous, or the layout breaks the specification.
            UnsupportedError: a layout of another version.
        """
        index = self._index()
        images = [entry for entry in index.manifests if is_manifest(entry.media_type) or is_index(entry.media_type)]
        wanted = self._reference.ref
        found = {image.digest: image for image in images if wanted is None or wanted in names_of(image)}
        if len(found) == 1:
            (image,) = found.values()
            return Descriptor(image.media_type, image.digest, image.size, image.platform)
        listed = sorted({name for image in images for name in names_of(image)})
        offer = ", ".join(printable(name) for name in listed[:_SHOWN]) + (", …" if len(listed) > _SHOWN else "")
        if not found:
            raise NotFoundError(f"{self._shown}: no such image; the layout has {offer or 'none with a name'}")
        raise InvalidError(f"{self._shown}: means {len(found)} images; name one of: {offer or 'none has a name'}")

    @contextmanager
    def fetch(self, descriptor: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Open a blob from ``offset`` on."""
        name = f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.encoded}"
        with self._container.open(name) as run:
            if run.size != descriptor.size:
                raise MismatchError(
                    f"{self._shown}: {descriptor.digest}: expected {descriptor.size} bytes, found {run.size}"
                )
            yield run.chunks(offset)

    @property
    def _container(self) -> Container:
        if self._opened is None:
            self._opened = container(self._reference.path)
        return self._opened

    @property
    def _shown(self) -> str:
        return printable(str(self._reference), 400)

    def _index(self) -> Index:
        what = f"{self._shown}: {_MARKER}"
        try:
            marker = self._document(_MARKER)
        except NotFoundError as error:
            raise NotFoundError(f"{self._shown}: not an OCI image layout, {_MARKER} is missing") from error
        version = Record.of(load(marker, what), what, frozenset({"imageLayoutVersion"})).text("imageLayoutVersion")
        if version != _VERSION:
            raise UnsupportedError(f"{what}: version {printable(version)!r}; supported is {_VERSION}")
        return Index.parse(self._document("index.json"))

    def _document(self, name: str) -> bytes:
        with self._container.open(name) as run:
            return run.read(MAX_DOCUMENT)


def names_of(image: Descriptor) -> set[str]:
    """Give the names by which an entry of ``index.json`` is known."""
    return {image.annotations[key] for key in (REF_NAME, _IMAGE_NAME) if key in image.annotations}
