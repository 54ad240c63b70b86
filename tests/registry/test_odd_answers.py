"""What odd but honest registries and proxies answer is understood: the digest proves the bytes."""

from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.refs import layer_ref
from prestow.content.verify import verify
from prestow.errors import InvalidError, MismatchError
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_INDEX, OCI_LAYER_GZIP
from prestow.platforms import Platform
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.registry.health import Health
from prestow.registry.source import Source, Sources
from tests.hosts_files import mirrored
from tests.image_factory import put_blob, read_blob
from tests.registries import Fault, FaultRegistry

AMD64 = Platform("linux", "amd64")


def headers(**values: str | None) -> Fault:
    return Fault(headers={name.replace("_", "-"): value for name, value in values.items()})


def bare(status: str, body: bytes, *lines: str) -> Fault:
    """An answer whose body ends with its connection."""
    return Fault(raw="\r\n".join((f"HTTP/{status}", *lines, "", "")).encode() + body)


def pulled(source: Source, content: LocalStore, registry: FaultRegistry) -> None:
    """Fetch the demo image, and compare every blob."""
    image = fetch_manifest(source, content, source.resolve(), AMD64)
    for layer in image.layers:
        fetch_blob(source, content, layer.descriptor)
        verify(content, layer.descriptor)
    stored = [info.digest for info in content.walk()]
    assert len(stored) == 6
    assert all(content.read(digest) == read_blob(registry.layout, digest) for digest in stored)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(chunked=True),
        headers(Content_Length="0"),
        headers(Content_Type=None),
        headers(Content_Type="application/json"),
        headers(Content_Type="text/plain; charset=utf-8"),
        headers(Content_Type="binary/octet-stream"),
        headers(Content_Type=f"  {OCI_INDEX.upper()} ;charset=utf-8 "),
        headers(Docker_Content_Digest=None),
        headers(Docker_Content_Digest="md5:9e107d9d372bb6826bd81d3542a419d6"),
        headers(Docker_Content_Digest="SHA256:00"),
        headers(Docker_Content_Digest='"sha256:00"'),
        headers(ETag="W/odd", Date="yesterday", Accept_Ranges="none", Vary="*", Connection="Close"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_odd_answers_for_manifests(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry, fault: Fault, method: str
) -> None:
    if method == "GET":
        fault_registry.on("/manifests/demo", Fault(status=405), method="HEAD")
        fault = fault if fault.headers.get("Content-Length") is None else Fault()
    fault_registry.on("/manifests/demo", fault, method=method)
    fault_registry.on("/manifests/sha", fault if method == "GET" and fault.chunked else headers(Content_Type=None))

    pulled(remote, content, fault_registry)


def test_a_digest_of_another_algorithm_is_one_more_name(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    target = remote.resolve()
    raw = read_blob(fault_registry.layout, target.digest)
    twin = put_blob(fault_registry.layout, raw, target.media_type, algorithm="sha512")
    fault_registry.on("/manifests/demo", headers(Docker_Content_Digest=twin.digest))

    assert remote.resolve() == twin
    pulled(remote, content, fault_registry)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(chunked=True),
        Fault(chunked=True, pieces=100),
        headers(Content_Type=None),
        headers(Content_Type="text/html", Docker_Content_Digest="sha256:00"),
        *(
            headers(Content_Encoding=label)
            for label in ("gzip", "x-gzip", " GZIP ", "aws-chunked", "utf-8", "none", "")
        ),
        Fault(chunked=True, headers={"Content-Encoding": "gzip"}),
    ],
    ids=repr,
)
def test_odd_answers_for_blobs(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry, fault: Fault
) -> None:
    fault_registry.on("/blobs/", fault)

    pulled(remote, content, fault_registry)


@pytest.fixture
def layer(fault_registry: FaultRegistry) -> Descriptor:
    return put_blob(fault_registry.layout, bytes(range(256)) * 400, OCI_LAYER_GZIP)


@pytest.mark.parametrize("total", ["102400", "*"])
@pytest.mark.parametrize("label", [None, "gzip"])
def test_the_whole_as_a_part_is_the_whole(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry, layer: Descriptor, total: str, label: str | None
) -> None:
    about = {"Content-Range": f"bytes 0-102399/{total}", "Content-Encoding": label}
    fault_registry.on("/blobs/", Fault(status=206, whole=True, headers=about))

    assert fetch_blob(remote, content, layer).fetched_bytes == layer.size
    verify(content, layer)


def test_a_part_of_what_was_asked_for_whole_is_refused(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry, layer: Descriptor
) -> None:
    fault_registry.on("/blobs/", Fault(status=206, whole=True, headers={"Content-Range": "bytes 0-99/102400"}))

    with pytest.raises(InvalidError, match="206"):
        fetch_blob(remote, content, layer)


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        (headers(Content_Range="bytes 1000-102399/*"), 1),
        (headers(Content_Range="BYTES  1000 - 102399 / 102400 "), 1),
        (headers(Content_Range="bytes=1000-102399/102400"), 1),
        (Fault(headers={"Content-Range": "bytes 1000-102399/102400", "Content-Encoding": "gzip"}), 1),
        (Fault(chunked=True), 1),
        (Fault(whole=True), 1),
        (Fault(whole=True, status=206, headers={"Content-Range": "bytes 0-102399/102400"}), 2),
        (Fault(status=416, body=b""), 2),
        (Fault(status=416, headers={"Content-Range": "bytes */102400"}), 2),
    ],
    ids=repr,
)
def test_odd_answers_for_parts(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry, layer: Descriptor, fault: Fault, parts: int
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=1000), times=1)
    fault_registry.on("/blobs/", fault, times=1)

    fetch_blob(remote, content, layer)
    verify(content, layer)

    assert len(fault_registry.requests("/blobs/")) == 1 + parts


def test_bytes_that_are_all_here_are_not_asked_for(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry, layer: Descriptor
) -> None:
    with content.writer(layer_ref(layer.digest), total=layer.size, digest=layer.digest) as writer:
        writer.write(read_blob(fault_registry.layout, layer.digest))

    assert fetch_blob(remote, content, layer).fetched_bytes == 0
    verify(content, layer)
    assert fault_registry.seen == []


def test_a_body_that_ends_with_its_connection_is_whole(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry, layer: Descriptor
) -> None:
    fault_registry.on("/blobs/", bare("1.0 200 fine", read_blob(fault_registry.layout, layer.digest)))

    fetch_blob(remote, content, layer)
    verify(content, layer)


@pytest.mark.parametrize("change", [1, -1])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_truly_encoded_is_refused_and_the_label_is_named(
    remote: Source,
    content: LocalStore,
    fault_registry: FaultRegistry,
    layer: Descriptor,
    change: int,
    chunked: bool,  # noqa: FBT001 - a table
) -> None:
    body = bytes(layer.size + change * 100)
    fault_registry.on("/blobs/", Fault(headers={"Content-Encoding": "gzip"}, body=body, chunked=chunked))

    with pytest.raises(MismatchError, match="labelled as encoding 'gzip'"):
        fetch_blob(remote, content, layer)

    assert content.status(layer_ref(layer.digest)) is None
    assert len(fault_registry.seen) == 1


def test_a_document_that_is_labelled_as_encoded_is_taken_as_it_is_by_its_digest(
    remote: Source, content: LocalStore, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/sha256:", headers(Content_Encoding="gzip"))

    pulled(remote, content, fault_registry)


def test_where_a_mirror_encodes_the_registry_itself_is_asked(
    demo_layout: Path, content: LocalStore, fault_registry: FaultRegistry, tmp_path: Path
) -> None:
    with FaultRegistry(demo_layout) as mirror:
        mirror.on("/sha256:", Fault(headers={"Content-Encoding": "gzip"}, body=b"encoded", chunked=True))
        options = mirrored(tmp_path / "hosts", fault_registry.domain, mirror.domain)
        with Sources(options, health=Health(tmp_path / "health")) as sources:
            pulled(sources.open(Reference.parse(f"{fault_registry.domain}/app:demo")), content, fault_registry)

        assert len(mirror.requests("/sha256:")) == 1
