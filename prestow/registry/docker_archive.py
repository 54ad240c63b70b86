"""Docker's archives, as ``docker save`` wrote them before they were layouts, and as skopeo and podman do.

    manifest.json    [{"Config": FILE, "RepoTags": ["alpine:3.20", …], "Layers": [FILE, …]}, …]

They have no manifest of a registry's kind, so that one is made here, the one that ``ctr image import`` makes: the
config's digest, which is the image ID, is unchanged; a layer that is not compressed has its diff ID as its digest. What
is read is verified like any other blob, so a false name or diff ID fails there.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from prestow.cancellation import check
from prestow.digest import Digest
from prestow.errors import ExhaustedError, InvalidError, NotFoundError, PrestowError, printable
from prestow.oci.descriptor import Descriptor
from prestow.oci.document import MAX_DOCUMENT, Record, load_items
from prestow.oci.image_config import ImageConfig
from prestow.oci.index import MAX_IMAGES, MAX_LAYOUT
from prestow.oci.manifest import MAX_LAYERS
from prestow.oci.mediatypes import DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST
from prestow.reference import Reference
from prestow.registry.archive import compression_of
from prestow.registry.contents import Listed
from prestow.registry.layout_files import LayoutFiles, Run

MANIFEST = "manifest.json"

_FIELDS = frozenset({"Config", "RepoTags", "Layers"})
_SUFFIX = {"none": "", "gzip": ".gzip", "zstd": ".zstd"}


@dataclass(frozen=True, slots=True)
class _Saved:
    """One entry of ``manifest.json``."""

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]


class DockerArchive:
    """Implements ``prestow.registry.contents.Contents``; safe for threads."""

    def __init__(self, files: LayoutFiles, shown: str) -> None:
        """Read nothing yet; ``shown`` names it in errors."""
        self._files = files
        self._shown = shown
        self._lock = threading.Lock()
        self._members: dict[str, Descriptor] = {}
        self._blobs: dict[Digest, str | bytes] = {}

    def images(self) -> Sequence[Listed]:
        """List the entries of ``manifest.json``."""
        return [
            Listed(saved.names, json.dumps([saved.config, *saved.layers]), lambda saved=saved: self._describe(saved))  # type: ignore[misc]  # the loop's value
            for saved in self._saved()
        ]

    @contextmanager
    def open(self, digest: Digest) -> Iterator[Run]:
        """Open a config, a layer, or a manifest that was made here."""
        found = self._blobs.get(digest) or self._sought(digest)
        if found is None:
            raise NotFoundError(f"{self._shown}: has no blob {digest}")
        if isinstance(found, bytes):
            yield Run(found, 0, len(found))
        else:
            with self._files.open(found) as run:
                yield run

    def _sought(self, digest: Digest) -> str | bytes | None:
        """Return where a blob is of an image that another process, or an earlier one, described."""
        for saved in self._saved():
            with suppress(PrestowError):  # of another image, which may be broken
                self._describe(saved)
            if digest in self._blobs:
                break
        return self._blobs.get(digest)

    def _saved(self) -> list[_Saved]:
        what = f"{self._shown}: {MANIFEST}"
        with self._files.open(MANIFEST) as run:
            items = load_items(run.read(MAX_LAYOUT), what, MAX_LAYOUT)
        if len(items) > MAX_IMAGES:
            raise ExhaustedError(f"{what}: {len(items)} images; limited to {MAX_IMAGES}")
        return [_saved(Record.of(item, f"{what}[{at}]", _FIELDS)) for at, item in enumerate(items)]

    def _describe(self, saved: _Saved) -> Descriptor:
        """Make the manifest of an image, and return its descriptor.

        Raises:
            NotFoundError: a file of it is missing.
            InvalidError: its config breaks the specification, or has another number of layers.
            UnsupportedError: a layer is compressed in a way that layers are not.
        """
        with self._lock:
            with self._files.open(saved.config) as run:
                raw = run.read(MAX_DOCUMENT)
            diff_ids = ImageConfig.parse(raw).diff_ids
            if len(diff_ids) != len(saved.layers):
                raise InvalidError(
                    f"{self._shown}: {printable(saved.config)} has {len(diff_ids)} layers, "
                    f"{MANIFEST} says {len(saved.layers)}; save the image again"
                )
            config = Descriptor(DOCKER_CONFIG, Digest.of(raw), len(raw))
            layers = [self._layer(name, diff_id) for name, diff_id in zip(saved.layers, diff_ids, strict=True)]
            manifest = _manifest(config, layers)
            digest = Digest.of(manifest)
            self._blobs |= {digest: manifest, config.digest: raw}
            return Descriptor(DOCKER_MANIFEST, digest, len(manifest))

    def _layer(self, name: str, diff_id: Digest) -> Descriptor:
        """Return the descriptor of a layer; a compressed one is hashed, once."""
        if (known := self._members.get(name)) is not None:
            return known
        with self._files.open(name) as run:
            try:
                compression = compression_of(next(run.chunks(), b""))
            except PrestowError as error:
                raise type(error)(f"{self._shown}: layer {printable(name)}: {error}") from error
            digest = diff_id if compression == "none" else _hashed(run)
            layer = Descriptor(DOCKER_LAYER + _SUFFIX[compression], digest, run.size)
        self._members[name], self._blobs[digest] = layer, name
        return layer


def _saved(record: Record) -> _Saved:
    layers = record.texts("Layers")
    if len(layers) > MAX_LAYERS:
        raise ExhaustedError(f"{record.what}: {len(layers)} layers; images are limited to {MAX_LAYERS} layers")
    return _Saved(record.text("Config"), layers, tuple(map(_name, record.texts("RepoTags"))))


def _name(text: str) -> str:
    try:
        return str(Reference.parse(text))
    except PrestowError:
        return text


def _hashed(run: Run) -> Digest:
    hasher = hashlib.sha256()
    for chunk in run.chunks():
        check()
        hasher.update(chunk)
    return Digest(f"sha256:{hasher.hexdigest()}")


def _manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """Return the manifest, byte for byte as containerd writes it."""
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    return json.dumps(document, separators=(",", ":")).encode()
