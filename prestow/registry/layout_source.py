"""Layouts and archives as sources: one image of what lies on disk, behind the protocols of ``source``.

    oci:PATH              a layout, in a directory or in a tar
    oci-archive:PATH      a layout in a tar, as skopeo, podman and ``prestow export`` write it
    docker-archive:PATH   what ``docker save`` writes: a layout, or from before 2024 an archive of its own kind

An archive is opened once for all sources that read from it at the same time.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias
from weakref import WeakValueDictionary

from prestow.content.store import Progress, silent
from prestow.errors import InvalidError, MismatchError, NotFoundError, PrestowError, printable
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import is_foreign
from prestow.reference import LayoutReference, Reference, Transport, has_domain, name_for
from prestow.registry.archive import Archive, Scratch, compressed_size
from prestow.registry.contents import Contents, choose
from prestow.registry.docker_archive import MANIFEST, DockerArchive
from prestow.registry.layout import MARKER, Layout
from prestow.registry.layout_files import Folder, LayoutFiles
from prestow.registry.quota import Quota
from prestow.registry.ranges import Parts

_Key: TypeAlias = tuple[Transport, Path, int, int, int, int]


class Layouts:
    """Opens layouts and archives; safe for threads.

    Args:
        scratch: where compressed archives are decompressed to.
    """

    def __init__(self, scratch: Scratch | None = None) -> None:
        """Open nothing yet."""
        self._scratch = scratch or Scratch()
        self._lock = threading.Lock()
        self._archives: WeakValueDictionary[_Key, Layout | DockerArchive] = WeakValueDictionary()

    def open(self, reference: LayoutReference, progress: Progress = silent) -> Contents:
        """Return what lies at the path of a reference; ``progress`` gets the compressed bytes of what is decompressed.

        Raises:
            NotFoundError: nothing does, or it is of another kind.
            InvalidError: neither a directory nor an archive.
            As :class:`Archive`.
        """
        path, shown = reference.path, printable(str(reference), 400)
        if path.is_dir():
            if reference.transport != "oci":
                raise InvalidError(f"{shown}: is a directory, expected an archive; write oci:{path}")
            return Layout(Folder(path), shown)
        if not path.exists():
            raise NotFoundError(f"{shown}: does not exist")
        if not path.is_file():
            raise InvalidError(f"{shown}: neither a directory nor an archive")
        status = path.stat()
        key = (reference.transport, path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            found = self._archives.get(key)
            if found is None:
                self._archives[key] = found = _archived(reference, Archive(path, self._scratch, progress), shown)
        return found


class LayoutSource:
    """Implements ``prestow.registry.source.Source`` for one reference.

    Args:
        reference: the layout or archive, and the name in it.
        layouts: opens it, at the first question.
    """

    server: str | None = None
    quota: Quota | None = None

    def __init__(self, reference: LayoutReference, layouts: Layouts | None = None) -> None:
        """Read nothing yet."""
        self._reference = reference
        self._layouts = layouts or Layouts()
        self._opened: Contents | None = None

    @property
    def compressed_size(self) -> int:
        """The bytes that :meth:`open` has to decompress first; 0 if none."""
        return compressed_size(self._reference.path) if self._opened is None else 0

    def open(self, progress: Progress = silent) -> Contents:
        """Open the layout or archive, unless it is; raises as :meth:`Layouts.open`, whose ``progress`` it is."""
        if self._opened is None:
            self._opened = self._layouts.open(self._reference, progress)
        return self._opened

    def resolve(self) -> Descriptor:
        """Look the name up.

        Raises:
            NotFoundError: no such layout or archive, or no such name in it.
            InvalidError: the name is ambiguous, or what lies there breaks a rule.
            UnsupportedError: a layout of another version.
        """
        image = choose(self._reference, self._contents.images()).describe()
        return Descriptor(image.media_type, image.digest, image.size, image.platform)

    def own_name(self) -> str | None:
        """Return the name that the image has in its archive, in canonical form; None if it has none.

        Of several full names it is the one that the reference names, else the first. A name without a domain is put
        under ``localhost``, as podman does.

        Raises:
            As :meth:`resolve`.
        """
        if self._reference.transport == "oci":
            return None
        found = choose(self._reference, self._contents.images())
        names = [str(Reference.parse(name)) for name in found.names if _is_full(name)]
        wanted = self._reference.canonical
        if names:
            return wanted if wanted in names else names[0]
        if found.names and self._reference.name is None:
            with suppress(PrestowError):  # what it is called there is no image's name
                return name_for(replace(self._reference, ref=found.names[0]))
        return None

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
                run = stack.enter_context(self._contents.open(descriptor.digest))
            except NotFoundError as error:
                raise NotFoundError(f"{error}; {self._remedy(descriptor)}") from error
            if run.size != descriptor.size:
                raise MismatchError(
                    f"{self._shown}: {descriptor.digest}: expected {descriptor.size} bytes, found {run.size}"
                )
            yield run.chunks(offset)

    @property
    def _contents(self) -> Contents:
        return self.open()

    @property
    def _shown(self) -> str:
        return printable(str(self._reference), 400)

    def _remedy(self, descriptor: Descriptor) -> str:
        """Return what to do about a blob that is missing."""
        if descriptor.urls or is_foreign(descriptor.media_type):
            return "it is a foreign layer, which a layout need not have: pull the image from a registry"
        if self._reference.transport == "oci-archive":
            return "if it was exported --without what this store should have, pull that first; else export it whole"
        return "copy the image again"


def _archived(reference: LayoutReference, files: LayoutFiles, shown: str) -> Layout | DockerArchive:
    """Return what an archive has, by the files that are in it."""
    if _has(files, MARKER):
        return Layout(files, shown)
    if not _has(files, MANIFEST):
        missing = MARKER if reference.transport != "docker-archive" else MANIFEST
        raise NotFoundError(f"{shown}: not an archive of images, {missing} is missing")
    if reference.transport != "docker-archive":
        raise NotFoundError(
            f"{shown}: not an OCI image layout, {MARKER} is missing; it is a Docker archive: "
            f"write docker-archive:{reference.path}"
        )
    return DockerArchive(files, shown)


def _has(files: LayoutFiles, name: str) -> bool:
    try:
        with files.open(name):
            return True
    except NotFoundError:
        return False


def _is_full(name: str) -> bool:
    """Whether a name is one of the store's, rather than a tag or a word."""
    try:
        Reference.parse(name)
    except PrestowError:
        return False
    return has_domain(name)
