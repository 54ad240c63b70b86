"""Artifacts: from a target down to all blobs, whatever they are, and no further than the limits."""

from pathlib import Path

import pytest

from prestow.errors import ExhaustedError, InvalidError, NotFoundError, UnsupportedError
from prestow.oci.artifact import MAX_PARTS, Artifact, gather, meant
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_CONFIG
from prestow.platforms import Platform
from tests.artifacts import EMPTY, HELM, alone, files, helm_chart, indexes, put_artifact
from tests.image_factory import put_blob, put_image, put_index, read_blob

AMD64 = Platform("linux", "amd64")


def gathered(layout: Path, target: Descriptor) -> Artifact:
    return gather(target, lambda found: read_blob(layout, found.digest), lambda index: meant(index, AMD64))


def test_all_blobs_of_a_manifest_are_found_once_whatever_their_types(tmp_path: Path) -> None:
    for kind, types in ((helm_chart, [HELM, "application/vnd.cncf.helm.chart.content.v1.tar+gzip"]), (alone, [EMPTY])):
        target = kind(tmp_path)
        found = gathered(tmp_path, target)
        assert found.manifests == (target,)
        assert [blob.descriptor.media_type for blob in found.blobs] == types
        assert [(blob.position, blob.total) for blob in found.blobs] == [(n, len(types)) for n in range(len(types))]


def test_an_artifact_is_what_its_type_says_or_else_its_config(tmp_path: Path) -> None:
    image = put_image(tmp_path, [b"\0" * 1024])

    assert gathered(tmp_path, files(tmp_path)).artifact_type == "application/vnd.example.model"
    assert gathered(tmp_path, helm_chart(tmp_path)).artifact_type == HELM
    assert gathered(tmp_path, image).artifact_type == OCI_CONFIG
    assert gathered(tmp_path, indexes(tmp_path)).artifact_type == (
        f"{HELM}, application/vnd.example.mark, application/vnd.example.model"
    )


def test_of_an_index_without_platforms_all_manifests_are_meant_each_once(tmp_path: Path) -> None:
    chart, note = helm_chart(tmp_path), put_blob(tmp_path, b"a note", "text/plain")
    index = put_index(tmp_path, [chart, put_index(tmp_path, [chart, files(tmp_path)]), note])

    assert gathered(tmp_path, index).manifests == (chart, files(tmp_path))


def test_of_an_index_with_a_platform_one_is_meant(tmp_path: Path) -> None:
    images = [put_image(tmp_path, [b"\0" * 1024], platform=Platform("linux", name)) for name in ("amd64", "arm64")]

    assert gathered(tmp_path, put_index(tmp_path, [helm_chart(tmp_path), *images])).manifests == (images[0],)
    for entries in ([images[1]], []):
        with pytest.raises(NotFoundError, match="no image for linux/amd64"):
            gathered(tmp_path, put_index(tmp_path, entries))


def test_depth_and_number_are_limited(tmp_path: Path) -> None:
    nested = put_index(tmp_path, [put_index(tmp_path, [alone(tmp_path)])])
    assert len(gathered(tmp_path, nested).manifests) == 1
    with pytest.raises(InvalidError, match="more than 2 indexes inside each other"):
        gathered(tmp_path, put_index(tmp_path, [nested]))

    many = [put_artifact(tmp_path, (EMPTY, b"{}"), {"": ("text/plain", b"%d" % n)}) for n in range(MAX_PARTS // 2)]
    assert len(gathered(tmp_path, put_index(tmp_path, many[:-1])).blobs) == MAX_PARTS // 2
    with pytest.raises(ExhaustedError, match="more than 1000 documents and blobs"):
        gathered(tmp_path, put_index(tmp_path, many))
    read: list[Descriptor] = []

    def reading(descriptor: Descriptor) -> bytes:
        read.append(descriptor)
        return read_blob(tmp_path, descriptor.digest)

    too_many = put_index(tmp_path, [*many, *(put_blob(tmp_path, b"%d" % n, many[0].media_type) for n in range(600))])
    with pytest.raises(ExhaustedError):
        gather(too_many, reading, lambda index: index.documents)
    assert read == [too_many]


def test_a_document_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="neither an image manifest nor an image index"):
        gathered(tmp_path, put_blob(tmp_path, b"{}", "application/vnd.oci.artifact.manifest.v1+json"))
