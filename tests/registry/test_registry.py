"""A registry as a source: names resolved, bytes fetched, and everything that may come instead."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
from prestow.oci.mediatypes import OCI_INDEX
from prestow.reference import Reference
from prestow.registry.client import Client
from prestow.registry.hosts import Options
from prestow.registry.registry import RegistrySource
from tests.hosts_files import mirrored
from tests.image_factory import put_blob, read_blob, tag, write_demo_image
from tests.registries import DockerRegistry, Fault, FaultRegistry

Open = Callable[..., RegistrySource]


@pytest.fixture
def open_source() -> Iterator[Open]:
    clients = []

    def source(text: str, options: Options | None = None) -> RegistrySource:
        clients.append(Client(options or Options()))
        return RegistrySource(Reference.parse(text), clients[-1])

    yield source
    for client in clients:
        client.close()


@pytest.fixture
def target(tmp_path: Path) -> Descriptor:
    """The demo image's index, which is the same everywhere."""
    return write_demo_image(tmp_path / "target")


@pytest.fixture
def blob(fault_registry: FaultRegistry) -> Descriptor:
    """A blob of 300 kB in the registry."""
    return put_blob(fault_registry.layout, bytes(range(256)) * 1200, "application/octet-stream")


def whole(source: RegistrySource, descriptor: Descriptor, offset: int = 0) -> bytes:
    with source.fetch(descriptor, offset) as chunks:
        return b"".join(chunks)


def test_one_head_request_resolves_a_tag(fault_registry: FaultRegistry, open_source: Open, target: Descriptor) -> None:
    assert open_source(f"{fault_registry.domain}/team/app:demo").resolve() == target

    (seen,) = fault_registry.seen
    assert (seen.method, seen.path) == ("HEAD", "/v2/team/app/manifests/demo")
    assert "application/vnd.oci.image.index.v1+json" in seen.headers["Accept"]


def test_a_digest_counts_and_the_tag_beside_it_does_not(
    fault_registry: FaultRegistry, open_source: Open, target: Descriptor
) -> None:
    source = open_source(f"{fault_registry.domain}/team/app:moved@{target.digest}")

    assert source.resolve() == target
    assert fault_registry.seen[0].path.endswith(f"/manifests/{target.digest}")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=405),
        Fault(status=403),
        Fault(headers={"Docker-Content-Digest": None}),
        Fault(headers={"Docker-Content-Digest": "sha256:nonsense"}),
        Fault(headers={"Docker-Content-Digest": "md5:00"}),
        Fault(headers={"Content-Type": "application/json"}),
        Fault(headers={"Content-Type": None}),
        Fault(chunked=True),
    ],
    ids=repr,
)
def test_where_head_tells_too_little_the_document_itself_is_asked_for(
    fault_registry: FaultRegistry, open_source: Open, target: Descriptor, fault: Fault
) -> None:
    fault_registry.on("/manifests/", fault, method="HEAD")

    assert open_source(f"{fault_registry.domain}/team/app:demo").resolve() == target
    assert [seen.method for seen in fault_registry.seen] == ["HEAD", "GET"]


def test_a_content_type_may_have_parameters(
    fault_registry: FaultRegistry, open_source: Open, target: Descriptor
) -> None:
    fault_registry.on("", Fault(headers={"Content-Type": f"{OCI_INDEX}; charset=utf-8"}))

    assert open_source(f"{fault_registry.domain}/team/app:demo").resolve() == target


NO_HEAD = Fault(status=405)
NO_DIGEST = {"Docker-Content-Digest": None}


@pytest.mark.parametrize(
    ("fault", "expected", "words"),
    [
        (Fault(body=b"<html>", headers={**NO_DIGEST, "Content-Type": "text/html"}), InvalidError, "text/html"),
        (Fault(body=b"{}", headers=NO_DIGEST), InvalidError, "expected an image manifest"),
        (Fault(body=b"[" * 100_000, headers=NO_DIGEST), InvalidError, "nested"),
        (Fault(body=b" " * (5 << 20)), ExhaustedError, "larger than"),
        (Fault(body=b" " * (5 << 20), chunked=True), ExhaustedError, "larger than"),
        (
            Fault(headers={"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws"}),
            UnsupportedError,
            "schema 1",
        ),
        (Fault(headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"}), InvalidError, "came as"),
        (Fault(headers={"Docker-Content-Digest": f"sha256:{'0' * 64}"}), MismatchError, "expected sha256:000"),
        (Fault(status=404), NotFoundError, "team/app:demo"),
        (Fault(status=503), UnavailableError, "503"),
        (Fault(drop_after=5), UnavailableError, "broke"),
    ],
    ids=lambda value: repr(value)[:70],
)
def test_what_is_no_manifest_is_refused(
    fault_registry: FaultRegistry, open_source: Open, fault: Fault, expected: type[PrestowError], words: str
) -> None:
    fault_registry.on("", NO_HEAD, method="HEAD")
    fault_registry.on("", fault)

    with pytest.raises(expected, match=words):
        open_source(f"{fault_registry.domain}/team/app:demo").resolve()


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_digest_that_is_answered_with_another_document_is_refused(
    fault_registry: FaultRegistry, open_source: Open, target: Descriptor, method: str
) -> None:
    if method == "GET":
        fault_registry.on("", NO_HEAD, method="HEAD")
    other = f"sha256:{'0' * 64}"
    fault_registry.on("", Fault(body=b"{}", headers={"Docker-Content-Digest": other}))

    with pytest.raises(MismatchError, match=str(target.digest)):
        open_source(f"{fault_registry.domain}/team/app@{target.digest}").resolve()


def test_what_is_not_there_is_asked_for_once(fault_registry: FaultRegistry, open_source: Open) -> None:
    with pytest.raises(NotFoundError, match="team/app:absent"):
        open_source(f"{fault_registry.domain}/team/app:absent").resolve()

    assert len(fault_registry.seen) == 1


def test_sha512_is_a_digest_like_another(tmp_path: Path, open_source: Open) -> None:
    index = write_demo_image(tmp_path)
    twin = put_blob(tmp_path, read_blob(tmp_path, index.digest), index.media_type, algorithm="sha512")
    tag(tmp_path, twin, "twin")

    with FaultRegistry(tmp_path) as registry:
        for name in ("app:twin", f"app@{twin.digest}"):
            source = open_source(f"{registry.domain}/{name}")
            assert source.resolve() == twin
            assert Digest.of(whole(source, twin), "sha512") == twin.digest


def test_documents_and_blobs_are_fetched_by_digest(
    fault_registry: FaultRegistry, open_source: Open, target: Descriptor, blob: Descriptor
) -> None:
    source = open_source(f"{fault_registry.domain}/team/app:demo")

    for descriptor, kind in ((target, "manifests"), (blob, "blobs")):
        assert whole(source, descriptor) == read_blob(fault_registry.layout, descriptor.digest)
        assert fault_registry.seen[-1].path == f"/v2/team/app/{kind}/{descriptor.digest}"
        assert "Range" not in fault_registry.seen[-1].headers


@pytest.mark.parametrize("offset", [1, 65536, 307_199])
def test_a_range_gives_the_rest(
    fault_registry: FaultRegistry, open_source: Open, blob: Descriptor, offset: int
) -> None:
    source = open_source(f"{fault_registry.domain}/team/app:demo")

    assert whole(source, blob, offset) == read_blob(fault_registry.layout, blob.digest)[offset:]
    assert [seen.headers["Range"] for seen in fault_registry.seen] == [f"bytes={offset}-"]


def test_a_server_without_ranges_gives_the_rest_of_the_whole(
    fault_registry: FaultRegistry, open_source: Open, blob: Descriptor
) -> None:
    fault_registry.on("", Fault(whole=True))

    rest = whole(open_source(f"{fault_registry.domain}/team/app:demo"), blob, 100_000)

    assert rest == read_blob(fault_registry.layout, blob.digest)[100_000:]
    assert len(fault_registry.seen) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(headers={"Content-Range": None}),
        Fault(headers={"Content-Range": "bytes 0-307199/307200"}),
        Fault(headers={"Content-Range": "bytes 99999-307199/307200"}),
        Fault(headers={"Content-Range": "bytes 100000-307198/307200"}),
        Fault(headers={"Content-Range": "bytes 100000-307199/307201"}),
        Fault(headers={"Content-Range": "nonsense", "Content-Type": "multipart/byteranges"}),
        Fault(body=b"short"),
        Fault(status=416, body=b""),
    ],
    ids=repr,
)
def test_a_part_that_is_not_the_one_asked_for_is_thrown_away(
    fault_registry: FaultRegistry, open_source: Open, blob: Descriptor, fault: Fault
) -> None:
    fault_registry.on("", fault, times=1)

    rest = whole(open_source(f"{fault_registry.domain}/team/app:demo"), blob, 100_000)

    assert rest == read_blob(fault_registry.layout, blob.digest)[100_000:]
    assert [seen.headers.get("Range") for seen in fault_registry.seen] == ["bytes=100000-", None]


@pytest.mark.parametrize("status", [206, 416, 204, 201])
def test_a_status_that_was_not_asked_for_is_refused(
    fault_registry: FaultRegistry, open_source: Open, blob: Descriptor, status: int
) -> None:
    fault_registry.on("", Fault(status=status, whole=True))

    with pytest.raises(InvalidError, match=str(status)):
        whole(open_source(f"{fault_registry.domain}/team/app:demo"), blob)


def test_a_length_other_than_the_descriptors_is_told_before_a_byte_is_read(
    fault_registry: FaultRegistry, open_source: Open, blob: Descriptor
) -> None:
    fault_registry.on("", Fault(body=b"x" * 10))

    with pytest.raises(MismatchError, match="expected 307200 bytes"):
        whole(open_source(f"{fault_registry.domain}/team/app:demo"), blob)


def test_a_mirror_is_asked_first_and_told_for_whom(
    fault_registry: FaultRegistry, open_source: Open, target: Descriptor, tmp_path: Path
) -> None:
    source = open_source("docker.io/library/app:demo", mirrored(tmp_path / "hosts", "docker.io", fault_registry.domain))

    assert source.resolve() == target
    assert len(whole(source, target)) == target.size
    assert [seen.query for seen in fault_registry.seen] == [{"ns": "docker.io"}] * 2
    assert fault_registry.seen[0].path.startswith("/v2/library/app/manifests/demo")


@pytest.mark.parametrize(
    "fault", [Fault(status=404), Fault(status=500), Fault(raw=b""), Fault(body=b"x"), Fault(status=401)]
)
def test_where_a_mirror_fails_the_registry_itself_answers(
    demo_layout: Path,
    fault_registry: FaultRegistry,
    open_source: Open,
    target: Descriptor,
    fault: Fault,
    tmp_path: Path,
) -> None:
    with FaultRegistry(demo_layout) as mirror:
        mirror.on("", fault, method="GET")
        mirror.on("", NO_HEAD, method="HEAD")
        options = mirrored(tmp_path / "hosts", fault_registry.domain, mirror.domain)
        source = open_source(f"{fault_registry.domain}/app:demo", options)

        assert source.resolve() == target
        assert len(whole(source, target)) == target.size


def test_if_all_fail_the_registrys_own_answer_counts(
    demo_layout: Path, fault_registry: FaultRegistry, open_source: Open, tmp_path: Path
) -> None:
    with FaultRegistry(demo_layout) as mirror:
        mirror.on("", Fault(status=500))
        options = mirrored(tmp_path / "hosts", fault_registry.domain, mirror.domain)
        source = open_source(f"{fault_registry.domain}/app:absent", options)

        with pytest.raises(NotFoundError, match=fault_registry.domain):
            source.resolve()


def test_the_real_registry_resolves_and_gives_ranges(
    docker_registry: DockerRegistry, demo_layout: Path, open_source: Open, target: Descriptor
) -> None:
    name = docker_registry.push(demo_layout, "demo", "registry/source:1")
    source = open_source(name)

    assert source.resolve() == target
    assert open_source(f"{name}@{target.digest}").resolve() == target
    assert whole(source, target) == read_blob(demo_layout, target.digest)
    with pytest.raises(NotFoundError, match="404"):
        open_source(f"{docker_registry.domain}/registry/source:2").resolve()
