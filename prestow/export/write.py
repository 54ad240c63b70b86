"""Write an export: the files of an OCI image layout, into one archive or into a directory.

    oci-layout  index.json  blobs/<algorithm>/<hex>     and in an archive, for docker, manifest.json

The same images give the same bytes: the files are sorted, and no time, owner or name of this host is among them. Every
blob is hashed on its way.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from prestow.cancellation import check
from prestow.content.store import Progress, silent
from prestow.digest import Digest, Digester
from prestow.errors import MismatchError
from prestow.export.docker import Entry, entries_of, manifest_json
from prestow.export.place import check_space, new_directory, new_file
from prestow.export.select import LEFT_OUT, Blobs, Chosen, InEarlier
from prestow.export.tar import BLOCK, header
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_INDEX
from prestow.registry.docker_archive import MANIFEST
from prestow.registry.layout import IMAGE_NAME, MARKER, REF_NAME, VERSION, blob_name

_BUFFER = 1 << 20


class Provider(Protocol):
    """Opens the blobs."""

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob."""


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written.

    Attributes:
        images: sorted by name.
        blobs: documents, configs and layers, each once, sorted by digest.
        left_out: configs and layers that an earlier export held or left out.
        for_docker: the images that docker's older store can load from an archive.
    """

    images: tuple[Chosen, ...]
    blobs: tuple[Descriptor, ...]
    left_out: tuple[Descriptor, ...]
    for_docker: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes of the blobs."""
        return sum(blob.size for blob in self.blobs)


def export_of(content: Blobs, images: Iterable[Chosen], in_earlier: InEarlier) -> Export:
    """Return the export of some images, without what earlier ones held."""
    chosen = sorted(images, key=lambda image: image.name)
    documents = {document.digest: document for image in chosen for document in image.documents}
    blobs = {blob.digest: blob for image in chosen for blob in image.blobs if blob.digest not in documents}
    left_out = {digest: blob for digest, blob in blobs.items() if in_earlier(blob)}
    written = documents | {digest: blob for digest, blob in blobs.items() if digest not in left_out}
    return Export(tuple(chosen), _sorted(written), _sorted(left_out), entries_of(content, chosen, left_out.keys()))


def write_archive(
    content: Provider, export: Export, path: Path, *, force: bool = False, progress: Progress = silent
) -> int:
    """Write an archive, whole or not at all, and return its size in bytes.

    Args:
        content: has the blobs.
        export: what to write.
        path: the file.
        force: whether to replace a file that is there.
        progress: told of the blobs' bytes.

    Raises:
        AlreadyExistsError: there is such a file.
        NotFoundError: there is no such directory.
        ExhaustedError: the disk is full.
        StorageError: the disk failed.
        MismatchError: a blob is corrupt.
    """
    check_space(path.parent, export.size)
    documents = _documents(export)
    if export.for_docker:
        documents[MANIFEST] = manifest_json(export.for_docker)
    with new_file(path, force=force) as file:
        for name, data in documents.items():
            file.write(header(name, len(data)) + data + bytes(-len(data) % BLOCK))
        for blob in export.blobs:
            file.write(header(blob_name(blob.digest), blob.size))
            _copy(content, blob, file, progress)
            file.write(bytes(-blob.size % BLOCK))
        file.write(bytes(2 * BLOCK))
        return file.tell()


def write_layout(content: Provider, export: Export, path: Path, *, progress: Progress = silent) -> int:
    """Write a layout into a directory that is new or empty, whole or not at all; as :func:`write_archive`."""
    check_space(path.parent, export.size)
    documents = _documents(export)
    with new_directory(path) as directory:
        for name, data in documents.items():
            (directory / name).write_bytes(data)
        for blob in export.blobs:
            place = directory / blob_name(blob.digest)
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                _copy(content, blob, file, progress)
    return export.size + sum(map(len, documents.values()))


def _documents(export: Export) -> dict[str, bytes]:
    """Return the two files by which other tools know a layout and its images."""
    entries = [
        {**image.target.to_json(), "annotations": {IMAGE_NAME: image.name, REF_NAME: image.name}}
        for image in export.images
    ]
    index: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    if export.left_out:
        index["annotations"] = {LEFT_OUT: " ".join(blob.digest for blob in export.left_out)}
    return {MARKER: _json({"imageLayoutVersion": VERSION}), "index.json": _json(index)}


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _copy(content: Provider, blob: Descriptor, file: BinaryIO, progress: Progress) -> None:
    digester = Digester(blob.digest.algorithm)
    copied = 0
    for chunk in _chunks(content, blob):
        check()
        digester.write(chunk)
        file.write(chunk)
        progress(len(chunk))
        copied += len(chunk)
    if copied != blob.size or digester.digest() != blob.digest:
        raise MismatchError(f"blob {blob.digest} is corrupt; run `prestow fsck --all --repair`")


def _chunks(content: Provider, blob: Descriptor) -> Iterator[bytes]:
    with closing(content.open(blob.digest)) as source:
        while chunk := source.read(_BUFFER):
            yield chunk


def _sorted(blobs: dict[Digest, Descriptor]) -> tuple[Descriptor, ...]:
    return tuple(blobs[digest] for digest in sorted(blobs))
