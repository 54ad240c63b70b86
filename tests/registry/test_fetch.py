"""The steps resolve, fetch_manifest and fetch_layer: from a source into the content store."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.content.local import LocalStore
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
from prestow.oci.mediatypes import OCI_INDEX, OCI_LAYER
from prestow.platforms import Platform
from prestow.reference import LayoutReference, Reference
from prestow.registry.fetch import fetch_layer, fetch_manifest
from prestow.registry.hosts import Options
from prestow.registry.layout import LayoutSource
from prestow.registry.resolve import resolve
from prestow.registry.source import Source, Sources
from tests.image_factory import put_blob, put_document, put_image, put_index, read_blob, tag, write_demo_image
from tests.registries import DockerRegistry, Fault, FaultRegistry

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
MIB = 1 << 20


@pytest.fixture
def content(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "content", tmp_path / "ingest", durable=False)


@pytest.fixture
def sources() -> Iterator[Sources]:
    with Sources(Options()) as opened:
        yield opened


@pytest.fixture
def remote(fault_registry: FaultRegistry, sources: Sources) -> Source:
    return sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo"))


@pytest.fixture
def layer(fault_registry: FaultRegistry) -> Descriptor:
    """A layer of 3 MiB in the registry."""
    return put_blob(fault_registry.layout, bytes(range(256)) * (3 * MIB // 256), OCI_LAYER)


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
        fetch_layer(remote, content, part.descriptor)
        verify(content, part.descriptor)
    asked = len(fault_registry.seen)

    assert fetch_manifest(remote, content, target, AMD64) == first
    for part in first.layers:
        assert fetch_layer(remote, content, part.descriptor).fetched_bytes == 0
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
    for number, reference in enumerate((Reference.parse(name), LayoutReference(demo_layout, "demo"))):
        content = LocalStore(tmp_path / f"{number}", tmp_path / f"ingest-{number}", durable=False)
        source = sources.open(reference)
        image = fetch_manifest(source, content, resolve(source, content, reference), AMD64)
        for part in image.layers:
            fetched = fetch_layer(source, content, part.descriptor)
            assert fetched.fetched_bytes == part.descriptor.size
            verify(content, part.descriptor)
            assert content.read(part.descriptor.digest) == read_blob(demo_layout, part.descriptor.digest)
        images.append(image)

    assert images[0] == images[1]


def test_a_layer_becomes_a_sealed_ingest_and_progress_is_told(
    remote: Source, content: LocalStore, layer: Descriptor
) -> None:
    told: list[int] = []

    fetched = fetch_layer(remote, content, layer, progress=told.append)

    assert (fetched.ref, fetched.size, fetched.fetched_bytes) == (f"layer-{layer.digest}", layer.size, layer.size)
    assert sum(told) == layer.size
    status = content.status(fetched.ref)
    assert status is not None
    assert status.sealed
    assert not content.has(layer.digest)
    assert fetch_layer(remote, content, layer).fetched_bytes == 0


def test_a_connection_that_breaks_is_gone_on_from_where_it_broke(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=MIB), times=2)

    assert fetch_layer(remote, content, layer).fetched_bytes == layer.size
    verify(content, layer)

    asked = [seen.headers.get("Range") for seen in fault_registry.requests("/blobs/")]
    assert asked == [None, f"bytes={MIB}-", f"bytes={2 * MIB}-"]


@pytest.mark.parametrize(
    "fault",
    [Fault(whole=True), Fault(headers={"Content-Range": "bytes 0-3145727/3145728"}), Fault(status=416, body=b"")],
    ids=repr,
)
def test_going_on_works_without_proper_ranges_too(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry, fault: Fault
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=MIB), times=1)
    fault_registry.on("/blobs/", fault, times=1)

    fetch_layer(remote, content, layer)

    verify(content, layer)


def test_a_call_that_gives_up_leaves_what_it_has_to_the_next(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=MIB), times=1)
    fault_registry.on("/blobs/", Fault(status=503, headers={"Retry-After": "9"}), times=1)

    with pytest.raises(UnavailableError) as caught:
        fetch_layer(remote, content, layer)
    assert caught.value.retry_after == 9

    assert fetch_layer(remote, content, layer).fetched_bytes == layer.size - MIB
    verify(content, layer)


def test_a_connection_that_breaks_again_and_again_is_left_after_a_few_times(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=1000))

    with pytest.raises(UnavailableError):
        fetch_layer(remote, content, layer)

    assert len(fault_registry.requests("/blobs/")) == 6
    status = content.status(f"layer-{layer.digest}")
    assert status is not None
    assert status.offset == 6000


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 400_000), max_size=4), st.booleans(), st.booleans())
def test_wherever_connections_break_the_bytes_are_the_same(drops: list[int], whole: bool, chunked: bool) -> None:  # noqa: FBT001 - drawn
    with TemporaryDirectory() as folder:
        layout = Path(folder) / "layout"
        write_demo_image(layout)
        layer = put_blob(layout, bytes(range(256)) * 1200, OCI_LAYER)
        content = LocalStore(Path(folder) / "content", Path(folder) / "ingest", durable=False)
        with FaultRegistry(layout) as registry, Sources(Options()) as sources:
            for drop in drops:
                registry.on("/blobs/", Fault(drop_after=drop, whole=whole, chunked=chunked), times=1)
            source = sources.open(Reference.parse(f"{registry.domain}/team/app:demo"))
            with suppress(UnavailableError):
                fetch_layer(source, content, layer)
            fetch_layer(source, content, layer)

        verify(content, layer)
        assert content.read(layer.digest) == read_blob(layout, layer.digest)


def test_a_tag_that_moves_meanwhile_changes_nothing(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    target = remote.resolve()
    tag(fault_registry.layout, put_image(fault_registry.layout, [b"\0" * 1024]), "demo")

    assert fetch_manifest(remote, content, target, AMD64).target == target
    assert remote.resolve() != target


def test_no_progress_is_not_tried_again(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=0))

    with pytest.raises(UnavailableError):
        fetch_layer(remote, content, layer)

    assert len(fault_registry.requests("/blobs/")) == 1


def test_other_bytes_of_the_right_length_are_found_by_the_verifying_step(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(body=b"x" * layer.size))

    fetch_layer(remote, content, layer)

    with pytest.raises(MismatchError):
        verify(content, layer)
    assert not content.has(layer.digest)
    assert content.status(f"layer-{layer.digest}") is None


class Given:
    """A source that gives always the same bytes."""

    def __init__(self, data: bytes) -> None:
        """Give ``data``."""
        self._data = data

    @contextmanager
    def fetch(self, _: Descriptor, offset: int = 0) -> Iterator[Iterator[bytes]]:
        """Give them in two pieces."""
        yield iter([self._data[offset:10], self._data[10:]])


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(body=b"x" * (3 * MIB + 1)), MismatchError),
        (Fault(body=b"x" * (3 * MIB + 1), chunked=True), MismatchError),
        (Fault(body=b"x" * 10), MismatchError),
        (Fault(body=b"x" * 10, chunked=True), UnavailableError),
        (Fault(headers={"Content-Length": None}, body=b"x" * 10, drop_after=10), UnavailableError),
        (Fault(status=404), NotFoundError),
        (Fault(headers={"Content-Encoding": "gzip"}), InvalidError),
    ],
    ids=lambda value: repr(value)[-90:],
)
def test_more_fewer_or_no_bytes_are_told_and_nothing_is_committed(
    remote: Source,
    content: LocalStore,
    layer: Descriptor,
    fault_registry: FaultRegistry,
    fault: Fault,
    expected: type[PrestowError],
) -> None:
    fault_registry.on("/blobs/", fault)

    with pytest.raises(expected):
        fetch_layer(remote, content, layer)

    assert list(content.walk()) == []
    status = content.status(f"layer-{layer.digest}")
    assert status is None or not status.sealed


def test_an_ingest_longer_than_the_layer_is_begun_anew(remote: Source, content: LocalStore, layer: Descriptor) -> None:
    with content.writer(f"layer-{layer.digest}") as writer:
        writer.write(b"x" * (layer.size + 1))

    assert fetch_layer(remote, content, layer).fetched_bytes == layer.size
    verify(content, layer)


def test_an_empty_layer_is_complete_without_a_request(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    empty = Descriptor(OCI_LAYER, Digest.of(b""), 0)

    fetch_layer(remote, content, empty)
    verify(content, empty)

    assert fault_registry.seen == []


def test_a_layer_under_sha512_is_fetched_like_another(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    layer = put_blob(fault_registry.layout, b"x" * 1000, OCI_LAYER, algorithm="sha512")

    fetch_layer(remote, content, layer)
    verify(content, layer)

    assert content.has(layer.digest, 1000)


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
        local(tmp_path, content, replace(manifest, platform=None))
    with pytest.raises(NotFoundError, match="linux/amd64, linux/arm64"):
        local(tmp_path, content, index, Platform("linux", "s390x"))
    assert local(tmp_path, content, replace(manifest, platform=None), ARM64).platform == ARM64


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
        fetch_manifest(remote, content, replace(target, size=target.size - 1), AMD64)


def test_a_partial_document_of_a_killed_process_does_no_harm(remote: Source, content: LocalStore) -> None:
    target = remote.resolve()
    with content.writer(f"manifest-{target.digest}") as writer:
        writer.write(b"{")

    fetch_manifest(remote, content, target, AMD64)

    assert content.has(target.digest, target.size)
