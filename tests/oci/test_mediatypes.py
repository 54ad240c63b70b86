"""Media types: the three kinds, and how a layer is compressed."""

import pytest

from prestow.errors import UnsupportedError
from prestow.oci import mediatypes


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        ("application/vnd.oci.image.layer.v1.tar", "none"),
        ("application/vnd.oci.image.layer.v1.tar+gzip", "gzip"),
        ("application/vnd.oci.image.layer.v1.tar+zstd", "zstd"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", "none"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "zstd"),
        ("application/vnd.docker.image.rootfs.diff.tar", "none"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar", "none"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip"),
    ],
)
def test_a_layer_says_how_it_is_compressed(media_type: str, compression: str) -> None:
    assert mediatypes.layer_compression(media_type) == compression


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.layer.v1.tar+bzip2",
        "application/vnd.oci.image.layer.v1.tar+gzip+zstd",
        "application/vnd.oci.image.layer.v1.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar+gzip",
        "application/vnd.in-toto+json",
        "application/vnd.erofs.layer.v1",
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        "application/octet-stream",
        "APPLICATION/vnd.oci.image.layer.v1.tar",
        "",
        "evil\n\x1b[2J",
    ],
)
def test_another_layer_type_is_unsupported(media_type: str) -> None:
    with pytest.raises(UnsupportedError, match="no file system layer known here") as raised:
        mediatypes.layer_compression(media_type)

    assert str(raised.value).isprintable()


def test_an_encrypted_layer_is_refused_as_such() -> None:
    with pytest.raises(UnsupportedError, match="an encrypted layer"):
        mediatypes.layer_compression("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")


def test_no_media_type_is_of_two_kinds() -> None:
    for media_type in (*mediatypes.MANIFESTS, *mediatypes.INDEXES, *mediatypes.CONFIGS):
        kinds = [mediatypes.is_manifest, mediatypes.is_index, mediatypes.CONFIGS.__contains__]
        assert sum(kind(media_type) for kind in kinds) == 1
