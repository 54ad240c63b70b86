"""Looking images up: what was fetched is found again, in the store alone."""

from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.refs import document_ref
from prestow.errors import InvalidError, NotFoundError
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image
from prestow.oci.lookup import find_image
from prestow.platforms import Platform
from prestow.reference import LayoutReference
from prestow.registry.fetch import fetch_manifest
from prestow.registry.layout_source import LayoutSource
from tests.image_factory import put_blob, put_image, put_index, read_blob, write_demo_image

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def content(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "content", tmp_path / "ingest", durable=False)


def pulled(layout: Path, content: LocalStore, target: Descriptor, platform: Platform = AMD64) -> Image:
    return fetch_manifest(LayoutSource(LayoutReference(layout)), content, target, platform)


def test_what_was_fetched_is_found_whether_its_name_points_to_an_index_or_not(
    tmp_path: Path, content: LocalStore
) -> None:
    for target in (write_demo_image(tmp_path), put_image(tmp_path, [b"\0" * 1024])):
        assert pulled(tmp_path, content, target) == find_image(content, target, AMD64)


def test_an_image_is_found_through_indexes_inside_each_other(tmp_path: Path, content: LocalStore) -> None:
    nested = put_index(tmp_path, [write_demo_image(tmp_path)])

    for platform in (AMD64, ARM64):
        assert pulled(tmp_path, content, nested, platform) == find_image(content, nested, platform)


def test_indexes_inside_each_other_are_not_followed_for_ever(tmp_path: Path, content: LocalStore) -> None:
    nested = write_demo_image(tmp_path)
    pulled(tmp_path, content, nested)
    for _ in range(2):
        nested = put_index(tmp_path, [nested])
        with content.writer(document_ref("manifest", nested.digest)) as writer:
            writer.write(read_blob(tmp_path, nested.digest))
            writer.commit(nested.size, nested.digest)

    with pytest.raises(InvalidError, match="inside each other"):
        find_image(content, nested, AMD64)


def test_only_what_is_here_is_found(tmp_path: Path, content: LocalStore) -> None:
    nested = put_index(tmp_path, [write_demo_image(tmp_path)])
    pulled(tmp_path, content, nested, ARM64)

    with pytest.raises(NotFoundError, match=r"not here for linux/amd64 \(here: linux/arm64\)"):
        find_image(content, nested, AMD64)


def test_a_manifest_is_found_under_the_digest_that_its_index_gives(tmp_path: Path, content: LocalStore) -> None:
    manifest = put_image(tmp_path, [b"\0" * 1024])
    twin = put_blob(tmp_path, read_blob(tmp_path, manifest.digest), manifest.media_type, algorithm="sha512")
    index = put_index(tmp_path, [Descriptor(twin.media_type, twin.digest, twin.size, AMD64)])

    assert pulled(tmp_path, content, index).manifest.digest == twin.digest
    assert find_image(content, index, AMD64).manifest.digest == twin.digest
    assert content.has(twin.digest)
    assert not content.has(manifest.digest)
