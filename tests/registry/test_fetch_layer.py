"""The step fetch_layer: a layer's bytes, whatever connections and servers do."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.content.local import LocalStore
from prestow.content.refs import layer_ref
from prestow.content.verify import verify
from prestow.digest import Digest
from prestow.errors import (
    MismatchError,
    NotFoundError,
    PrestowError,
    UnavailableError,
)
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_LAYER
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.hosts import Options
from prestow.registry.source import Source, Sources
from tests.image_factory import put_blob, read_blob, write_demo_image
from tests.registries import Fault, FaultRegistry

MIB = 1 << 20


@pytest.fixture
def layer(fault_registry: FaultRegistry) -> Descriptor:
    """A layer of 3 MiB in the registry."""
    return put_blob(fault_registry.layout, bytes(range(256)) * (3 * MIB // 256), OCI_LAYER)


def test_a_layer_becomes_a_sealed_ingest_and_progress_is_told(
    remote: Source, content: LocalStore, layer: Descriptor
) -> None:
    told: list[int] = []

    fetched = fetch_blob(remote, content, layer, progress=told.append)

    assert (fetched.ref, fetched.size, fetched.fetched_bytes) == (layer_ref(layer.digest), layer.size, layer.size)
    assert sum(told) == layer.size
    status = content.status(fetched.ref)
    assert status is not None
    assert status.sealed
    assert not content.has(layer.digest)
    assert fetch_blob(remote, content, layer).fetched_bytes == 0


def test_a_connection_that_breaks_is_gone_on_from_where_it_broke(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=MIB), times=2)

    assert fetch_blob(remote, content, layer).fetched_bytes == layer.size
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

    fetch_blob(remote, content, layer)

    verify(content, layer)


def test_a_call_that_gives_up_leaves_what_it_has_to_the_next(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=MIB), times=1)
    fault_registry.on("/blobs/", Fault(status=503, headers={"Retry-After": "9"}), times=1)

    with pytest.raises(UnavailableError) as caught:
        fetch_blob(remote, content, layer)
    assert caught.value.retry_after == 9

    assert fetch_blob(remote, content, layer).fetched_bytes == layer.size - MIB
    verify(content, layer)


def test_a_connection_that_breaks_again_and_again_is_left_after_a_few_times(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=1000))

    with pytest.raises(UnavailableError):
        fetch_blob(remote, content, layer)

    assert len(fault_registry.requests("/blobs/")) == 6
    status = content.status(layer_ref(layer.digest))
    assert status is not None
    assert status.offset == 6000


@settings(deadline=None, max_examples=15)
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
            for _ in drops:
                with suppress(UnavailableError):
                    fetch_blob(source, content, layer)
            fetch_blob(source, content, layer)

        verify(content, layer)
        assert content.read(layer.digest) == read_blob(layout, layer.digest)


def test_no_progress_is_not_tried_again(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=0))

    with pytest.raises(UnavailableError):
        fetch_blob(remote, content, layer)

    assert len(fault_registry.requests("/blobs/")) == 1


def test_other_bytes_of_the_right_length_are_found_by_the_verifying_step(
    remote: Source, content: LocalStore, layer: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(body=b"x" * layer.size))

    fetch_blob(remote, content, layer)

    with pytest.raises(MismatchError):
        verify(content, layer)
    assert not content.has(layer.digest)
    assert content.status(layer_ref(layer.digest)) is None


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(body=b"x" * (3 * MIB + 1)), MismatchError),
        (Fault(body=b"x" * (3 * MIB + 1), chunked=True), MismatchError),
        (Fault(body=b"x" * 10), MismatchError),
        (Fault(body=b"x" * 10, chunked=True), UnavailableError),
        (Fault(headers={"Content-Length": None}, body=b"x" * 10, drop_after=10), UnavailableError),
        (Fault(status=404), NotFoundError),
        (Fault(headers={"Content-Encoding": "gzip"}, body=b"x" * 10, chunked=True), MismatchError),
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
        fetch_blob(remote, content, layer)

    assert list(content.walk()) == []
    status = content.status(layer_ref(layer.digest))
    assert status is None or not status.sealed


def test_an_ingest_longer_than_the_layer_is_begun_anew(remote: Source, content: LocalStore, layer: Descriptor) -> None:
    with content.writer(layer_ref(layer.digest)) as writer:
        writer.write(b"x" * (layer.size + 1))

    assert fetch_blob(remote, content, layer).fetched_bytes == layer.size
    verify(content, layer)


def test_an_empty_layer_is_complete_without_a_request(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    empty = Descriptor(OCI_LAYER, Digest.of(b""), 0)

    fetch_blob(remote, content, empty)
    verify(content, empty)

    assert fault_registry.seen == []


def test_a_layer_under_sha512_is_fetched_like_another(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    layer = put_blob(fault_registry.layout, b"x" * 1000, OCI_LAYER, algorithm="sha512")

    fetch_blob(remote, content, layer)
    verify(content, layer)

    assert content.has(layer.digest, 1000)
