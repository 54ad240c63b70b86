"""What the verbs that read tell of images: gathered from the store alone, as JSON-ready documents."""

from collections.abc import Iterable, Mapping
from typing import Any

from prestow.errors import InvalidError, PrestowError, UnsupportedError
from prestow.metadata.images import ImageRecord
from prestow.oci.artifact import Artifact
from prestow.oci.image import Image
from prestow.oci.index import Index
from prestow.oci.lookup import find_artifact, find_image, read_config
from prestow.oci.walk import parse_document
from prestow.platforms import Platform, platform_or_host
from prestow.store.node import Node

_TITLE = "org.opencontainers.image.title"
"""Annotation of a blob of an artifact: as a rule the file's name (image-spec, annotations.md)."""


def summaries(node: Node, records: Iterable[ImageRecord], labels: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """Return what is known of names: target, the platforms that are here, compressed bytes of their layers.

    With ``labels``, only about those that have them all; None stands for any value.
    """
    return [_summary(node, record) for record in records if _has(record.labels, labels)]


def _has(found: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    return all(key in found and value in (None, found[key]) for key, value in wanted.items())


def _summary(node: Node, record: ImageRecord) -> dict[str, Any]:
    images = _images(node, record)
    blobs = {layer.descriptor.digest: layer.descriptor.size for image in images for layer in image.layers}
    artifact = None if images else _artifact(node, record)
    if artifact is not None:
        blobs = {blob.descriptor.digest: blob.descriptor.size for blob in artifact.blobs}
    return {
        "namespace": record.namespace,
        "name": record.name,
        "digest": record.target.digest,
        "media_type": record.target.media_type,
        "artifact_type": artifact and artifact.artifact_type,
        "platforms": [str(image.platform) for image in images],
        "size": sum(blobs.values()),
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "used_at": record.used_at,
        "labels": dict(record.labels),
    }


def _artifact(node: Node, record: ImageRecord) -> Artifact | None:
    """Return what a name leads to as an artifact; None if its documents are damaged, of which `fsck` tells."""
    try:
        return find_artifact(node.blobs, record.target)
    except PrestowError:
        return None


def _images(node: Node, record: ImageRecord) -> list[Image]:
    """Find the images of a name whose documents are here; what is damaged is not, and `doctor` tells of it."""
    found = []
    for platform in _platforms(node, record):
        try:
            found.append(find_image(node.blobs, record.target, platform))
        except PrestowError:
            continue
    return found


def _platforms(node: Node, record: ImageRecord) -> list[Platform]:
    try:
        document = parse_document(node.blobs.read(record.target.digest), record.target.media_type)
    except PrestowError:
        return []
    if not isinstance(document, Index):
        return [platform_or_host(None)]
    return [
        entry.platform
        for entry in document.manifests
        if entry.platform and entry.platform.known and node.blobs.has(entry.digest, entry.size)
    ]


def _named(node: Node, record: ImageRecord) -> dict[str, Any]:
    """Return what is known of a name, and of what it stood for before."""
    return {
        "name": record.name,
        "labels": dict(record.labels),
        "digest": record.target.digest,
        "earlier": [
            {"digest": each.target.digest, "replaced_at": each.replaced_at}
            for each in node.images.generations()
            if each.name == record.name
        ],
    }


def _artifact_details(node: Node, record: ImageRecord, artifact: Artifact) -> dict[str, Any]:
    from prestow.content.plan import state_of

    return {
        **_named(node, record),
        "artifact_type": artifact.artifact_type,
        "manifests": [manifest.digest for manifest in artifact.manifests],
        "blobs": [
            {
                "digest": blob.descriptor.digest,
                "media_type": blob.descriptor.media_type,
                "size": blob.descriptor.size,
                "title": blob.descriptor.annotations.get(_TITLE, ""),
                "state": state_of(blob, node.content).value,
            }
            for blob in artifact.blobs
        ],
    }


def details(node: Node, name: str, platform: str | None) -> dict[str, Any]:
    """Return everything about one image, or artifact.

    Raises:
        NotFoundError: no such name, or nothing here for the platform.
    """
    from prestow.content.plan import plan

    record = node.images.recall(name)
    try:
        image = find_image(node.blobs, record.target, platform_or_host(platform))
    except (InvalidError, UnsupportedError):
        return _artifact_details(node, record, find_artifact(node.blobs, record.target))
    config = read_config(node.blobs, image.config)
    process = config.process
    return {
        **_named(node, record),
        "manifest_digest": image.manifest.digest,
        "config_digest": image.config.digest,
        "platform": str(image.platform),
        "chain_id": image.chain_id,
        "created": config.created,
        "author": config.author,
        "config": {
            "user": process.user,
            "env": list(process.env),
            "entrypoint": list(process.entrypoint),
            "cmd": list(process.cmd),
            "working_dir": process.working_dir,
            "volumes": sorted(process.volumes),
            "exposed_ports": sorted(process.exposed_ports),
            "labels": dict(process.labels),
            "stop_signal": process.stop_signal,
        },
        "layers": [
            {
                "digest": at.layer.descriptor.digest,
                "media_type": at.layer.descriptor.media_type,
                "size": at.layer.descriptor.size,
                "diff_id": at.layer.diff_id,
                "chain_id": at.layer.chain_id,
                "state": at.state.value,
            }
            for at in plan(image, node.content).layers
        ],
    }
