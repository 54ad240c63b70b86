"""Artifacts as other people's tools push them: manifests that are no container images, and an index of such."""

from collections.abc import Callable, Mapping
from pathlib import Path

from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from tests.image_factory import put_blob, put_document, put_index, tag

EMPTY = "application/vnd.oci.empty.v1+json"
HELM = "application/vnd.cncf.helm.config.v1+json"
CHART = b"\x1f\x8b not a tar, whatever its media type says"


def put_artifact(
    layout: Path,
    config: tuple[str, bytes],
    layers: Mapping[str, tuple[str, bytes]],
    *,
    artifact_type: str | None = None,
) -> Descriptor:
    """Write an artifact of blobs by title, each a media type and bytes, and give its manifest's descriptor."""
    blobs = {title: put_blob(layout, data, media_type) for title, (media_type, data) in layers.items()}
    manifest = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        **({"artifactType": artifact_type} if artifact_type else {}),
        "config": put_blob(layout, config[1], config[0]).to_json(),
        "layers": [
            {**blob.to_json(), "annotations": {"org.opencontainers.image.title": title}}
            for title, blob in blobs.items()
        ],
    }
    return put_document(layout, manifest, mediatypes.OCI_MANIFEST)


def helm_chart(layout: Path) -> Descriptor:
    """A chart as ``helm push`` makes it: a config of Helm's, and a layer that is no file system layer."""
    layer = ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", CHART)
    return put_artifact(layout, (HELM, b'{"name":"app","version":"1.0.0"}'), {"app-1.0.0.tgz": layer})


def files(layout: Path) -> Descriptor:
    """Files as ``oras push --artifact-type`` makes it: OCI 1.1, an empty config, one file of them empty."""
    layers = {"model.bin": ("application/octet-stream", b"\0\1" * 5000), "empty": ("text/plain", b"")}
    return put_artifact(layout, (EMPTY, b"{}"), layers, artifact_type="application/vnd.example.model")


def alone(layout: Path) -> Descriptor:
    """An artifact without content: the specification's guidance is one empty blob as config and layer."""
    return put_artifact(layout, (EMPTY, b"{}"), {"": (EMPTY, b"{}")}, artifact_type="application/vnd.example.mark")


def old_files(layout: Path) -> Descriptor:
    """Files as tools made them before there were artifacts: an image config that is none, no layer at all."""
    return put_artifact(layout, (mediatypes.OCI_CONFIG, b"{}"), {})


def signature(layout: Path) -> Descriptor:
    """A signature as cosign makes it: a true image config, and a layer that is no file system layer."""
    payload = b'{"critical":{}}'
    layer = put_blob(layout, payload, "application/vnd.dev.cosign.simplesigning.v1+json")
    config = b'{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":["%s"]}}' % str(layer.digest).encode()
    return put_artifact(layout, (mediatypes.OCI_CONFIG, config), {"": (layer.media_type, payload)})


def not_tars(layout: Path) -> Descriptor:
    """An image of layers that call themselves tars, with a config that is no image's."""
    return put_artifact(layout, (mediatypes.OCI_CONFIG, b'{"any":1}'), {"": (mediatypes.OCI_LAYER, b"no tar")})


def index_of_artifacts(layout: Path) -> Descriptor:
    """An index that names no platforms."""
    return put_index(layout, [helm_chart(layout), files(layout)])


def indexes(layout: Path) -> Descriptor:
    """An index of an artifact and an index."""
    return put_index(layout, [alone(layout), index_of_artifacts(layout)])


KINDS: tuple[Callable[[Path], Descriptor], ...] = (
    helm_chart, files, alone, old_files, signature, not_tars, index_of_artifacts, indexes,
)  # fmt: skip


def write_artifact(layout: Path, kind: Callable[[Path], Descriptor], ref: str = "artifact") -> Descriptor:
    """Write an artifact under the name ``ref``."""
    return tag(layout, kind(layout), ref)
