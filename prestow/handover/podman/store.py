"""The files of an additional image store of containers/storage, from which podman, CRI-O and buildah read images.

    overlay-images/images.json        images: names, layer, documents
                  /images.lock        changes whenever the index did, so that who has read that reads it again
                  /<image ID>/        documents of an image, by key
    overlay-layers/layers.json        layers; each image has one, which shows all of it
                  /layers.lock
    overlay/<layer>/diff              where that is mounted
                   /link              short name of the layer
           /l/<short name>            ─▶ ../<layer>/diff

An index is replaced as a whole, under the lock that its readers take: they see the old or the new one. A layer bears a
made-up digest of its own, for whatever bears a real diff ID may be taken for a layer of another image
(containers/podman#20603), which would then stand on all of ours.
"""

import base64
import fcntl
import hashlib
import json
import os
import re
import secrets
import struct
import time
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prestow.content.disk import make_folder, read_file, remove_abandoned, replace_file, sync_folder, translated
from prestow.content.lock import FileLock
from prestow.digest import Digest
from prestow.errors import InvalidError

IMAGES, LAYERS = "overlay-images/images", "overlay-layers/layers"

_PATIENCE = 60.0
_PLAIN = re.compile(r"[a-z0-9.]*", re.ASCII)
_LAST_WRITER = 64
_LOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, process


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of the store.

    Attributes:
        id: hex digits of the config's digest.
        digest: of the manifest.
        names: that stand for it.
        layer: that shows it.
        documents: digest and size, by key: ``manifest``, ``manifest-<digest>``, and the config's digest.
        created: when it came into the store, as RFC 3339 has it.
    """

    id: str
    digest: Digest
    names: tuple[str, ...]
    layer: str
    documents: Mapping[str, tuple[Digest, int]]
    created: str


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer of the store.

    Attributes:
        id: of the layer.
        size: bytes of the tars that it is made of.
        created: when it came into the store, as RFC 3339 has it.
    """

    id: str
    size: int
    created: str


@dataclass(slots=True)
class Index:
    """What is in a store."""

    images: dict[str, StoredImage] = field(default_factory=dict)
    layers: dict[str, StoredLayer] = field(default_factory=dict)

    def named(self, name: str) -> StoredImage | None:
        """Return the image for which a name stands."""
        return next((image for image in self.images.values() if name in image.names), None)

    def put(self, image: StoredImage) -> None:
        """Add an image, which takes its names from others, and keeps those that it had."""
        for other in [*self.images.values()]:
            self.drop(other.id, image.names if other.id != image.id else ())
        known = self.images.get(image.id)
        names = dict.fromkeys((*(known.names if known else ()), *image.names))
        self.images[image.id] = replace(image, names=tuple(names))

    def drop(self, image_id: str, names: tuple[str, ...]) -> None:
        """Take names from an image; one without a name goes, and its layer if no other has that."""
        image = self.images[image_id]
        left = tuple(name for name in image.names if name not in names)
        if left:
            self.images[image_id] = replace(image, names=left)
            return
        del self.images[image_id]
        if image.layer not in {other.layer for other in self.images.values()}:
            self.layers.pop(image.layer, None)


class AdditionalStore:
    """An additional image store in a directory."""

    def __init__(self, root: Path) -> None:
        """Look at ``root``, which need not exist."""
        self.root = root

    def read(self) -> Index:
        """Return what is in the store.

        Raises:
            InvalidError: an index is damaged.
        """
        images = {each.id: each for each in self._entries(IMAGES, _image)}
        return Index(images, {each.id: each for each in self._entries(LAYERS, _layer)})

    def _entries(self, name: str, entry: Any) -> list[Any]:
        path = self.root / f"{name}.json"
        try:
            return [entry(each) for each in json.loads(read_file(path))]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InvalidError(f"{path}: {error.strerror or error}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InvalidError(
                f"{path} is damaged; move {self.root} away, and hand the images over to podman again"
            ) from error

    def place(self, layer: str) -> Path:
        """Return where a layer is to be mounted."""
        return self.root / "overlay" / layer / "diff"

    def layers(self) -> set[str]:
        """Return the layers that have a directory, whether the index has them or not."""
        return {path.parent.name for path in self.root.glob("overlay/*/diff")}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes of ours from changing the store; files that one left unfinished are removed."""
        make_folder(self.root)
        with FileLock(self.root / "prestow.lock", timeout=_PATIENCE, what=f"the store for podman, {self.root}"):
            with translated(f"tidying {self.root}"):
                remove_abandoned(self.root)
            yield

    def write_layer(self, layer: str) -> None:
        """Make the directories of a layer; success if they are there."""
        name = base64.b32encode(hashlib.sha256(layer.encode()).digest()).decode()[:26]
        with translated(f"writing {self.root}"):
            for folder in (self.place(layer), self.root / "overlay/l"):
                make_folder(folder)
            replace_file(self.place(layer).with_name("link"), name.encode(), drafts=self.root)
            link = self.root / "overlay/l" / name
            if not os.path.lexists(link):
                link.symlink_to(f"../{layer}/diff")
                sync_folder(link.parent)

    def remove_layer(self, layer: str) -> None:
        """Remove the directories of a layer, on which nothing is mounted any longer; success if they are not there."""
        name = base64.b32encode(hashlib.sha256(layer.encode()).digest()).decode()[:26]
        with translated(f"removing layer {layer} of {self.root}"):
            (self.root / "overlay/l" / name).unlink(missing_ok=True)
            place = self.place(layer)
            if place.parent.is_dir():
                place.with_name("link").unlink(missing_ok=True)
                if place.is_dir():
                    place.rmdir()  # never a tree: should it still be mounted, nothing of it may go
                place.parent.rmdir()

    def write_documents(self, image_id: str, documents: Mapping[str, bytes]) -> None:
        """Write the documents of an image."""
        folder = self.root / "overlay-images" / image_id
        with translated(f"writing {folder}"):
            make_folder(folder)
            for key, data in documents.items():
                replace_file(folder / _file_name(key), data, drafts=self.root)

    def remove_documents(self, but: AbstractSet[str]) -> None:
        """Remove the documents of all images but some."""
        for folder in self.root.glob("overlay-images/*/"):
            if folder.name not in but:
                with translated(f"removing {folder}"):
                    for path in folder.iterdir():
                        path.unlink(missing_ok=True)
                    folder.rmdir()

    def write(self, index: Index) -> None:
        """Replace both indexes; what an image names is there before it, and longer than it."""
        with translated(f"writing {self.root}"):
            for name in (LAYERS, IMAGES):
                make_folder((self.root / name).parent)
            layers = {**{each.id: each for each in self._entries(LAYERS, _layer)}, **index.layers}
            self._replace(LAYERS, [_layer_entry(each) for each in layers.values()])
            self._replace(IMAGES, [_image_entry(each) for each in index.images.values()])
            self._replace(LAYERS, [_layer_entry(each) for each in index.layers.values()])

    def _replace(self, name: str, entries: list[dict[str, Any]]) -> None:
        data = json.dumps(entries).encode()
        path = self.root / f"{name}.json"
        if path.exists() and read_file(path) == data:
            return
        with _exclusive(path.with_suffix(".lock")) as file:
            replace_file(path, data, drafts=self.root)
            os.pwrite(file, secrets.token_bytes(_LAST_WRITER), 0)


def now() -> str:
    """Return the present time as the indexes have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@contextmanager
def _exclusive(path: Path) -> Iterator[int]:
    """Hold the lock by which containers/storage guards an index, and yield its file."""
    with ExitStack() as around:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        around.callback(os.close, file)
        fcntl.fcntl(file, fcntl.F_OFD_SETLKW, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        yield file


def _file_name(key: str) -> str:
    return key if _PLAIN.fullmatch(key) else f"={base64.b64encode(key.encode()).decode()}"


def _image(entry: Mapping[str, Any]) -> StoredImage:
    sizes = entry["big-data-sizes"]
    documents = {key: (Digest.parse(digest), int(sizes[key])) for key, digest in entry["big-data-digests"].items()}
    return StoredImage(
        str(entry["id"]), Digest.parse(entry["digest"]), tuple(map(str, entry["names"])), str(entry["layer"]),
        documents, str(entry["created"]),
    )  # fmt: skip


def _image_entry(image: StoredImage) -> dict[str, Any]:
    return {
        "id": image.id,
        "digest": image.digest,
        "names": list(image.names),
        "layer": image.layer,
        "metadata": "{}",
        "big-data-names": list(image.documents),
        "big-data-sizes": {key: size for key, (_, size) in image.documents.items()},
        "big-data-digests": {key: digest for key, (digest, _) in image.documents.items()},
        "created": image.created,
    }


def _layer(entry: Mapping[str, Any]) -> StoredLayer:
    return StoredLayer(str(entry["id"]), int(entry["diff-size"]), str(entry["created"]))


def _layer_entry(layer: StoredLayer) -> dict[str, Any]:
    return {
        "id": layer.id,
        "created": layer.created,
        "diff-digest": f"sha256:{layer.id}",  # without one podman does not know the layer's size
        "diff-size": layer.size,
    }
