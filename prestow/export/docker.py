"""Docker's own list of an archive's images: ``docker load`` reads it for docker's older store, of graph drivers.

    manifest.json    [{"Config": FILE, "RepoTags": ["docker.io/library/alpine:3.20", …], "Layers": [FILE, …]}, …]

The files are the archive's blobs, with layers compressed as they are: docker decompresses gzip in any version, and zstd
since 23. An entry is one image for one platform, with all its files in the archive. So the list leaves out artifacts,
images of several platforms, the last of which would get the name, and images with blobs that an earlier export held.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from prestow.digest import Digest
from prestow.errors import PrestowError
from prestow.export.select import Blobs, Chosen
from prestow.oci.image_config import ImageConfig
from prestow.oci.manifest import Manifest
from prestow.reference import Reference
from prestow.registry.layout import blob_name


@dataclass(frozen=True, slots=True)
class Entry:
    """An image in the list.

    Attributes:
        names: its names in the store.
        config: file of its config.
        layers: files of its layers, lowest first.
    """

    names: tuple[str, ...]
    config: str
    layers: tuple[str, ...]


def entries_of(content: Blobs, images: Iterable[Chosen], left_out: Collection[Digest]) -> tuple[Entry, ...]:
    """Return the entries of those images that docker's older store can load; one for all names of an image."""
    names: dict[tuple[str, ...], list[str]] = {}
    for image in images:
        found = [manifest for manifest in image.manifests if _is_image(manifest)]
        if len(found) == 1 and _is_loadable(content, found[0], left_out):
            files = tuple(blob_name(part.digest) for part in (found[0].config, *found[0].layers))
            names.setdefault(files, []).append(image.name)
    return tuple(Entry(tuple(found), config, tuple(layers)) for (config, *layers), found in names.items())


def manifest_json(entries: Sequence[Entry]) -> bytes:
    """Return the list as docker reads it. Only names with a tag are in there: docker refuses others."""
    items = [
        {"Config": entry.config, "RepoTags": [name for name in entry.names if _has_tag(name)], "Layers": entry.layers}
        for entry in entries
    ]
    return json.dumps(items, separators=(",", ":")).encode()


def _is_image(manifest: Manifest) -> bool:
    try:
        manifest.check_image()
    except PrestowError:
        return False
    return True


def _is_loadable(content: Blobs, manifest: Manifest, left_out: Collection[Digest]) -> bool:
    """Whether all files are in the archive, and the config has a diff ID for each layer, without which docker fails."""
    if any(part.digest in left_out for part in (manifest.config, *manifest.layers)):
        return False
    try:
        config = ImageConfig.parse(content.read(manifest.config.digest))
    except PrestowError:
        return False
    return len(config.diff_ids) == len(manifest.layers)


def _has_tag(name: str) -> bool:
    reference = Reference.parse(name)
    return reference.tag is not None and reference.digest is None
