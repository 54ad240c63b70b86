"""An OCI image layout: images move without a network (image-spec, image-layout.md).

    oci-layout            {"imageLayoutVersion": "1.0.0"}
    index.json            what there is, by name: annotation org.opencontainers.image.ref.name
    blobs/<algorithm>/<hex>

in a directory, or in a tar. ``docker save`` puts an image's full name into ``io.containerd.image.name`` and only its
tag into the other annotation; either is understood.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
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
from prestow.reference import LayoutReference, name_for
from prestow.registry.contents import Listed
from prestow.registry.layout_files import Folder, LayoutFiles, Run, open_regular

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
VERSION = "1.0.0"
MARKER = "oci-layout"


class Layout:
    """What a layout has, by its ``index.json``; implements ``prestow.registry.contents.Contents``."""

    def __init__(self, files: LayoutFiles, shown: str) -> None:
        """Read nothing yet; ``shown`` names it in errors."""
        self._files = files
        self._shown = shown

    def open(self, digest: Digest) -> AbstractContextManager[Run]:
        """Open a blob."""
        return self._files.open(blob_name(digest))

    def images(self) -> Sequence[Listed]:
        """List the manifests and indexes that ``index.json`` names."""
        return [
            Listed(names_of(image), image.digest, lambda image=image: image)  # type: ignore[misc]  # the loop's value
            for image in self.entries()
        ]

    def entries(self) -> tuple[Descriptor, ...]:
        """Return the entries of ``index.json`` that are manifests and indexes; raises as :meth:`index`."""
        return self.index().documents

    def index(self) -> Index:
        """Read ``index.json``.

        Raises:
            NotFoundError: not a layout.
            InvalidError: it breaks the specification.
            UnsupportedError: a layout of another version.
        """
        what = f"{self._shown}: {MARKER}"
        try:
            with self._files.open(MARKER) as run:
                marker = run.read(MAX_DOCUMENT)
        except NotFoundError as error:
            raise NotFoundError(f"{self._shown}: not an OCI image layout, {MARKER} is missing") from error
        version = Record.of(load(marker, what), what, frozenset({"imageLayoutVersion"})).text("imageLayoutVersion")
        if version != VERSION:
            raise UnsupportedError(f"{what}: version {printable(version)!r}; supported is {VERSION}")
        with self._files.open("index.json") as run:
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
    for image in Layout(Folder(folder), f"layout {folder}").entries():
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


def names_of(image: Descriptor) -> tuple[str, ...]:
    """Return the names by which an entry of ``index.json`` is known, the full one first."""
    return tuple(image.annotations[key] for key in (IMAGE_NAME, REF_NAME) if key in image.annotations)
