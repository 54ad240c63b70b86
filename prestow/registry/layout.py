"""An OCI image layout as a source: images move without a network (image-spec, image-layout.md).

    oci-layout            {"imageLayoutVersion": "1.0.0"}
    index.json            what there is, by name: annotation org.opencontainers.image.ref.name
    blobs/<algorithm>/<hex>

in a folder, or in a tar. ``docker save`` puts an image's full name into ``io.containerd.image.name`` and only its
tag into the other annotation; either is understood.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from prestow.digest import Digest
from prestow.errors import (
    ExhaustedError,
    InvalidError,
    MismatchError,
    NotFoundError,
    UnsupportedError,
    printable,
)
from prestow.oci.descriptor import Descriptor
from prestow.oci.document import MAX_DOCUMENT, Record, load
from prestow.oci.index import MAX_LAYOUT, Index
from prestow.oci.mediatypes import is_foreign, is_index, is_manifest
from prestow.reference import LayoutReference, name_for
from prestow.registry.layout_files import LayoutFiles, layout_files, open_regular
from prestow.registry.quota import Quota
from prestow.registry.ranges import Parts

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

    server: str | None = None
    quota: Quota | None = None

    def __init__(self, reference: LayoutReference) -> None:
        """Read nothing yet."""
        self._reference = reference
        self._opened: LayoutFiles | None = None

    def resolve(self) -> Descriptor:
        """Look the name up in ``index.json``.

        Raises:
            NotFoundError: no such layout, or no such name in it.
            InvalidError: the name is ambiguous, or the layout breaks the specification.
            UnsupportedError: a layout of another version.
        """
        images = self.images()
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

    def images(self) -> list[Descriptor]:
        """List what ``index.json`` names: manifests and indexes.

        Raises:
            As :meth:`resolve`.
        """
        entries = self._index().manifests
        return [entry for entry in entries if is_manifest(entry.media_type) or is_index(entry.media_type)]

    def parts(self, descriptor: Descriptor) -> Parts:
        """Return one part: a file is not read faster in more."""
        return Parts(1, descriptor.size)

    def reject(self, descriptor: Descriptor) -> bool:  # noqa: ARG002 - of any
        """Return False: there is no other place to read from."""
        return False

    @contextmanager
    def fetch(self, descriptor: Descriptor, offset: int = 0, end: int | None = None) -> Iterator[Iterator[bytes]]:  # noqa: ARG002 - one connection is enough
        """Open a blob from ``offset`` on."""
        with ExitStack() as stack:
            try:
                run = stack.enter_context(self._files.open(blob_name(descriptor.digest)))
            except NotFoundError as error:
                if descriptor.urls or is_foreign(descriptor.media_type):
                    raise NotFoundError(
                        f"{error}; it is a foreign layer, which a layout need not have: pull the image from a registry"
                    ) from error
                raise
            if run.size != descriptor.size:
                raise MismatchError(
                    f"{self._shown}: {descriptor.digest}: expected {descriptor.size} bytes, found {run.size}"
                )
            yield run.chunks(offset)

    @property
    def _files(self) -> LayoutFiles:
        if self._opened is None:
            self._opened = layout_files(self._reference.path)
        return self._opened

    @property
    def _shown(self) -> str:
        return printable(str(self._reference), 400)

    def _index(self) -> Index:
        what = f"{self._shown}: {_MARKER}"
        found = self._files
        try:
            with found.open(_MARKER) as run:
                marker = run.read(MAX_DOCUMENT)
        except NotFoundError as error:
            raise NotFoundError(f"{self._shown}: not an OCI image layout, {_MARKER} is missing") from error
        version = Record.of(load(marker, what), what, frozenset({"imageLayoutVersion"})).text("imageLayoutVersion")
        if version != _VERSION:
            raise UnsupportedError(f"{what}: version {printable(version)!r}; supported is {_VERSION}")
        with found.open("index.json") as run:
            return Index.parse(run.read(MAX_LAYOUT), of_layout=True)


class LayoutBlobs:
    """The blobs of a layout's folder, to be served; implements ``prestow.content.store.Provider``."""

    def __init__(self, path: Path) -> None:
        """Look at nothing yet."""
        self._path = path

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob; a link is not followed, since what is served is not verified, and it might be any file."""
        path = self._path / blob_name(digest)
        if path.is_symlink():
            raise NotFoundError(f"layout: {path} is a link, which is not served")
        return open_regular(path)

    def read(self, digest: Digest, limit: int = MAX_DOCUMENT) -> bytes:
        """Return a whole small blob, verified."""
        with self.open(digest) as file:
            raw = file.read(limit + 1)
        if len(raw) > limit:
            raise ExhaustedError(f"blob {digest}: more than {limit} bytes")
        if Digest.of(raw, digest.algorithm) != digest:
            raise MismatchError(f"blob {digest} in {self._path} is damaged")
        return raw


def open_layout(path: str | Path) -> tuple[Callable[[str], Descriptor], LayoutBlobs]:
    """Return the images of a layout's folder by canonical name, and its blobs: what a server serves.

    The folder is read once. A ref that has no domain is found under ``localhost``, as when it is pulled.

    Raises:
        NotFoundError: there is no layout.
        InvalidError: it breaks the specification.
        UnsupportedError: it is an archive, or of another version.
    """
    folder = Path(path)
    if folder.is_file():
        raise UnsupportedError(f"layout {folder}: an archive cannot be served; unpack it first")
    found: dict[str, Descriptor] = {}
    for image in LayoutSource(LayoutReference(folder)).images():
        for ref in names_of(image):
            with suppress(InvalidError):
                found[name_for(LayoutReference(folder, ref))] = image

    def find(name: str) -> Descriptor:
        if name not in found:
            raise NotFoundError(f"layout {folder}: has no image {name}")
        return found[name]

    return find, LayoutBlobs(folder)


def blob_name(digest: Digest) -> str:
    """Return a blob's name in a layout."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def names_of(image: Descriptor) -> set[str]:
    """Return the names by which an entry of ``index.json`` is known."""
    return {image.annotations[key] for key in (REF_NAME, _IMAGE_NAME) if key in image.annotations}
