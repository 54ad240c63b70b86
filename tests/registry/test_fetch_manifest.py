"""The steps resolve and fetch_manifest: from a name to an image, its documents in the content store."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.refs import document_ref
from prestow.content.verify import verify
from prestow.digest import Digest
from prestow.errors import (
    ExhaustedError,
    InvalidError,
    MismatchError,
    NotFoundError,
    PrestowError,
    UnavailableError,
    UnsupportedError,
)
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image
from prestow.oci.mediatypes import OCI_INDEX
from prestow.platforms import Platform
from prestow.reference import LayoutReference, Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.registry.layout_source import LayoutSource
from prestow.registry.resolve import resolve
from prestow.registry.source import Source, Sources
from tests.image_factory import put_document, put_image, put_index, read_blob, tag, write_demo_image
from tests.registries import DockerRegistry, FaultRegistry

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
MIB = 1 << 20


def test_an_image_is_fetched_for_one_platform(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    target = resolve(remote, content, Reference.parse(f"{fault_registry.domain}/team/app:demo"))

    image = fetch_manifest(remote, content, target, ARM64)

    assert image.platform == ARM64
    assert image.target == target
    stored = {info.digest for info in content.walk()}
    assert stored == {target.digest, image.manifest.digest, image.config.digest}
    assert len(image.layers) == 3


def test_what_is_here_is_not_asked_for_again(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    target = remote.resolve()
    first = fetch_manifest(remote, content, target, AMD64)
    for part in first.layers:
        fetch_blob(remote, content, part.descriptor)
        verify(content, part.descriptor)
    asked = len(fault_registry.seen)

    assert fetch_manifest(remote, content, target, AMD64) == first
    for part in first.layers:
        assert fetch_blob(remote, content, part.descriptor).fetched_bytes == 0
    reference = Reference.parse(f"{fault_registry.domain}/team/app@{target.digest}")
    assert resolve(remote, content, reference) == target

    assert len(fault_registry.seen) == asked


def test_a_tag_is_always_asked_for(remote: Source, content: LocalStore, fault_registry: FaultRegistry) -> None:
    reference = Reference.parse(f"{fault_registry.domain}/team/app:demo")
    for _ in range(2):
        resolve(remote, content, reference)

    assert len(fault_registry.seen) == 2


def test_a_layout_and_the_real_registry_give_the_same_image(
    docker_registry: DockerRegistry, demo_layout: Path, sources: Sources, tmp_path: Path
) -> None:
    name = docker_registry.push(demo_layout, "demo", "fetch/same:1")
    images = []
    references: list[Reference | LayoutReference] = [Reference.parse(name), LayoutReference(demo_layout, "demo")]
    for number, reference in enumerate(references):
        content = LocalStore(tmp_path / f"{number}", tmp_path / f"ingest-{number}", durable=False)
        source = sources.open(reference)
        image = fetch_manifest(source, content, resolve(source, content, reference), AMD64)
        for part in image.layers:
            fetched = fetch_blob(source, content, part.descriptor)
            assert fetched.fetched_bytes == part.descriptor.size
            verify(content, part.descriptor)
            assert content.read(part.descriptor.digest) == read_blob(demo_layout, part.descriptor.digest)
        images.append(image)

    assert images[0] == images[1]


def test_a_tag_that_moves_meanwhile_changes_nothing(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    target = remote.resolve()
    tag(fault_registry.layout, put_image(fault_registry.layout, [b"\0" * 1024]), "demo")

    assert fetch_manifest(remote, content, target, AMD64).target == target
    assert remote.resolve() != target


class Given:
    """A source that gives always the same bytes."""

    def __init__(self, data: bytes) -> None:
        """Give ``data``."""
        self._data = data

    def reject(self, _: Descriptor) -> bool:
        """Return False: there is no other server."""
        return False

    @contextmanager
    def fetch(self, _: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Yield them in two pieces."""
        yield iter([self._data[offset:10], self._data[10:]])


def local(layout: Path, content: LocalStore, target: Descriptor, platform: Platform = AMD64) -> Image:
    return fetch_manifest(LayoutSource(LayoutReference(layout)), content, target, platform)


def test_an_index_may_lead_to_an_index_but_not_for_ever(tmp_path: Path, content: LocalStore) -> None:
    index = write_demo_image(tmp_path)
    nested = put_index(tmp_path, [index])

    assert local(tmp_path, content, nested).target == nested
    for _ in range(3):
        nested = put_index(tmp_path, [nested])
    with pytest.raises(InvalidError, match="inside each other"):
        local(tmp_path, content, nested)


def test_an_image_for_another_platform_is_not_taken_for_ours(tmp_path: Path, content: LocalStore) -> None:
    manifest = put_image(tmp_path, [b"\0" * 1024], platform=ARM64)
    index = write_demo_image(tmp_path)

    with pytest.raises(NotFoundError, match="linux/arm64"):
        local(tmp_path, content, manifest._replace(platform=None))
    with pytest.raises(NotFoundError, match="linux/amd64, linux/arm64"):
        local(tmp_path, content, index, Platform("linux", "s390x"))
    assert local(tmp_path, content, manifest._replace(platform=None), ARM64).platform == ARM64


def test_an_image_of_too_many_layers_is_refused_before_anything_else_of_it_is_fetched(
    tmp_path: Path, content: LocalStore
) -> None:
    manifest = put_image(tmp_path, [b"\0" * 1024] * 3)
    source = LayoutSource(LayoutReference(tmp_path))

    with pytest.raises(ExhaustedError, match=r"3 layers, more than the 2 .* raise max_layers"):
        fetch_manifest(source, content, manifest, AMD64, max_layers=2)
    assert [info.digest for info in content.walk()] == [manifest.digest]
    assert len(fetch_manifest(source, content, manifest, AMD64, max_layers=3).layers) == 3


def test_what_is_no_container_image_is_refused_before_its_config_is_fetched(
    tmp_path: Path, content: LocalStore
) -> None:
    manifest = put_image(tmp_path, [b"\0" * 1024])
    document = json.loads(read_blob(tmp_path, manifest.digest))
    document["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    chart = put_document(tmp_path, document, manifest.media_type)
    tag(tmp_path, chart, "chart")

    with pytest.raises(UnsupportedError):
        local(tmp_path, content, chart)
    assert [info.digest for info in content.walk()] == [chart.digest]


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"{", UnavailableError), (b" " * 491, MismatchError), (b" " * 492, MismatchError), (b"", UnavailableError)],
)
def test_a_document_that_is_not_its_digest_is_refused_and_not_stored(
    tmp_path: Path, content: LocalStore, body: bytes, expected: type[PrestowError]
) -> None:
    index = write_demo_image(tmp_path)

    with pytest.raises(expected):
        fetch_manifest(Given(body), content, index, AMD64)

    assert list(content.walk()) == []


def test_a_document_beyond_the_limit_is_not_even_asked_for(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    huge = Descriptor(OCI_INDEX, Digest.of(b"x"), 5 * MIB)

    with pytest.raises(ExhaustedError, match="limited"):
        fetch_manifest(remote, content, huge, AMD64)

    assert fault_registry.seen == []


def test_a_document_that_rotted_on_the_disk_is_fetched_again(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    target = remote.resolve()
    image = fetch_manifest(remote, content, target, AMD64)
    path = content.path(image.config.digest)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"linux", b"Linux"))

    assert fetch_manifest(remote, content, target, AMD64) == image

    assert content.read(image.config.digest)
    reference = Reference.parse(f"{fault_registry.domain}/team/app@{target.digest}")
    content.path(target.digest).chmod(0o600)
    content.path(target.digest).write_bytes(b"x" * target.size)
    assert resolve(remote, content, reference) == target


def test_a_size_that_contradicts_the_stored_document_is_refused(remote: Source, content: LocalStore) -> None:
    target = remote.resolve()
    fetch_manifest(remote, content, target, AMD64)

    with pytest.raises(MismatchError, match="descriptor says"):
        fetch_manifest(remote, content, target._replace(size=target.size - 1), AMD64)


def test_a_partial_document_of_a_killed_process_does_no_harm(remote: Source, content: LocalStore) -> None:
    target = remote.resolve()
    with content.writer(document_ref("manifest", target.digest)) as writer:
        writer.write(b"{")

    fetch_manifest(remote, content, target, AMD64)

    assert content.has(target.digest, target.size)
