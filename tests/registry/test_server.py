"""Our own registry: served to ourselves, to skopeo and to containerd, and asked for what it must not give."""

import http.client
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.verify import verify
from prestow.digest import Digest
from prestow.errors import NotFoundError, UnavailableError
from prestow.oci.descriptor import Descriptor
from prestow.platforms import Platform
from prestow.reference import LayoutReference, Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.registry.hosts import Options
from prestow.registry.layout import open_layout
from prestow.registry.layout_source import LayoutSource
from prestow.registry.pull_api import candidate_names
from prestow.registry.server.listener import Server
from prestow.registry.source import Sources
from tests.hosts_files import mirrored
from tests.image_factory import put_blob, read_blob, write_demo_image

AMD64 = Platform("linux", "amd64")
Ask = Callable[..., tuple[http.client.HTTPResponse, bytes]]


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    write_demo_image(tmp_path / "layout", ref="demo:1")
    return tmp_path / "layout"


@pytest.fixture
def server(layout: Path) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), *open_layout(layout)) as running:
        yield running


@pytest.fixture
def ask(server: Server) -> Iterator[Ask]:
    connection = http.client.HTTPConnection(*server.address, timeout=30)

    def send(target: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response, response.read()

    with closing(connection):
        yield send


def at(server: Server) -> str:
    return f"{server.address[0]}:{server.address[1]}"


def fill(content: LocalStore, layout: Path) -> Descriptor:
    """Pull the demo image from a layout into a store."""
    source = LayoutSource(LayoutReference(layout))
    target = source.resolve()
    for layer in fetch_manifest(source, content, target, AMD64).layers:
        fetch_blob(source, content, layer.descriptor)
        verify(content, layer.descriptor)
    return target


def test_a_store_pulls_from_a_store(layout: Path, tmp_path: Path) -> None:
    near, far = (LocalStore(tmp_path / name, tmp_path / f"{name}-ingest", durable=False) for name in ("near", "far"))
    target = fill(far, layout)

    def find(name: str) -> Descriptor:
        if name != "docker.io/library/demo:1":
            raise NotFoundError(name)
        return target

    with Server(("127.0.0.1", 0), find, far) as server, Sources(Options()) as sources:
        source = sources.open(Reference.parse(f"{at(server)}/library/demo:1"))
        assert source.resolve() == target
        for layer in fetch_manifest(source, near, target, AMD64).layers:
            fetch_blob(source, near, layer.descriptor)
            verify(near, layer.descriptor)

    assert {info.digest for info in near.walk()} == {info.digest for info in far.walk()}


def test_a_mirror_answers_for_the_registry_that_it_is_asked_about(server: Server, layout: Path, tmp_path: Path) -> None:
    target = LayoutSource(LayoutReference(layout)).resolve()

    with Sources(mirrored(tmp_path / "hosts", "localhost", at(server))) as sources:
        assert sources.open(Reference.parse("localhost/demo:1")).resolve() == target


def test_skopeo_copies_from_it(server: Server, layout: Path, tmp_path: Path) -> None:
    copy = ["skopeo", "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false"]
    subprocess.run([*copy, f"docker://{at(server)}/demo:1", f"oci:{tmp_path / 'out'}:x"], check=True, timeout=60)

    assert LayoutSource(LayoutReference(tmp_path / "out")).resolve() == LayoutSource(LayoutReference(layout)).resolve()


def test_containerd_fetches_from_it(server: Server, layout: Path, containerd: Path) -> None:
    ctr = ["ctr", "-a", str(containerd), "content"]
    fetch = [*ctr, "fetch", "--plain-http", "--all-platforms", f"{at(server)}/demo:1"]
    subprocess.run(fetch, check=True, timeout=60, capture_output=True)

    listed = subprocess.run([*ctr, "ls", "-q"], check=True, capture_output=True, text=True).stdout.split()
    assert {digest.partition(":")[2] for digest in listed} == {path.name for path in layout.glob("blobs/sha256/*")}


def test_it_says_that_it_is_a_registry(ask: Ask) -> None:
    response, body = ask("/v2/")

    assert (response.status, body) == (200, b"{}")
    assert response.headers["Docker-Distribution-API-Version"] == "registry/2.0"


@pytest.mark.parametrize("reference", ["1", "digest"])
def test_a_manifest_is_given_by_tag_and_by_digest_with_its_type(ask: Ask, layout: Path, reference: str) -> None:
    target = LayoutSource(LayoutReference(layout)).resolve()
    path = f"/v2/demo/manifests/{target.digest if reference == 'digest' else reference}"

    for method, expected in (("GET", read_blob(layout, target.digest)), ("HEAD", b"")):
        response, body = ask(path, method)
        assert (response.status, body) == (200, expected)
        assert response.headers["Content-Type"] == target.media_type
        assert response.headers["Docker-Content-Digest"] == target.digest
        assert response.headers["Content-Length"] == str(target.size)


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("bytes=0-", 200, 0, 3_000_000),
        ("bytes=1-", 206, 1, 3_000_000),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=-5", 206, 2_999_995, 3_000_000),
        ("bytes=2999999-9999999", 206, 2_999_999, 3_000_000),
        ("bytes=0-1,5-6", 200, 0, 3_000_000),
        ("nonsense", 200, 0, 3_000_000),
        ("bytes=3000000-", 416, 0, 0),
    ],
)
def test_a_blob_is_given_whole_or_in_one_range(
    ask: Ask, layout: Path, wanted: str, status: int, start: int, end: int
) -> None:
    blob = put_blob(layout, os.urandom(3_000_000), "application/octet-stream")

    response, body = ask(f"/v2/any/thing/blobs/{blob.digest}", Range=wanted)

    assert response.status == status
    assert body == read_blob(layout, blob.digest)[start:end]
    shown = {206: f"bytes {start}-{end - 1}/3000000", 416: "bytes */3000000"}.get(status)
    assert response.headers["Content-Range"] == shown


def test_head_tells_of_a_blob_without_giving_it(ask: Ask, layout: Path) -> None:
    blob = put_blob(layout, b"x" * 1000, "application/octet-stream")

    response, body = ask(f"/v2/any/blobs/{blob.digest}", "HEAD")

    assert (response.status, response.headers["Content-Length"], body) == (200, "1000", b"")


ABSENT = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        (f"/v2/demo/blobs/{ABSENT}", 404, "BLOB_UNKNOWN"),
        (f"/v2/demo/manifests/{ABSENT}", 404, "MANIFEST_UNKNOWN"),
        ("/v2/demo/manifests/2", 404, "MANIFEST_UNKNOWN"),
        ("/v2/other/manifests/1", 404, "MANIFEST_UNKNOWN"),
        ("/v2/demo/manifests/1?ns=docker.io", 404, "MANIFEST_UNKNOWN"),
        ("/v2/demo/blobs/sha256:../../../../etc/passwd", 404, "UNSUPPORTED"),
        ("/v2/demo/blobs/sha256:..%2f..%2fetc%2fpasswd", 404, "UNSUPPORTED"),
        ("/v2/demo/blobs/..", 400, "DIGEST_INVALID"),
        ("/v2/demo/blobs/passwd", 400, "DIGEST_INVALID"),
        ("/v2/demo/blobs/sha256:" + "A" * 64, 400, "DIGEST_INVALID"),
        ("/v2/demo/blobs/md5:" + "0" * 32, 400, "DIGEST_INVALID"),
        ("/v2/demo/manifests/%2e%2e", 400, "NAME_INVALID"),
        ("/v2/demo/manifests/a%0db", 400, "NAME_INVALID"),
        ("/v2/../../etc/manifests/1", 400, "NAME_INVALID"),
        ("/v2/DEMO/manifests/1", 400, "NAME_INVALID"),
        ("/v2/demo/manifests/1?ns=not%20a%20host", 400, "NAME_INVALID"),
        ("/v2//manifests/1", 404, "UNSUPPORTED"),
        ("/v2/demo/tags/list", 404, "UNSUPPORTED"),
        ("/etc/passwd", 404, "UNSUPPORTED"),
        ("/v2/demo/blobs/" + "a" * 5000, 404, "UNSUPPORTED"),
    ],
)
def test_whatever_else_is_refused_in_the_specifications_form(ask: Ask, target: str, status: int, code: str) -> None:
    response, body = ask(target)

    assert response.status == status
    assert [error["code"] for error in json.loads(body)["errors"]] == [code]


def test_a_blob_that_is_no_manifest_is_not_given_as_one(ask: Ask, layout: Path) -> None:
    blob = put_blob(layout, b"x" * 1000, "application/octet-stream")

    response, _ = ask(f"/v2/demo/manifests/{blob.digest}")

    assert response.status == 404


def test_a_damaged_manifest_is_not_given(ask: Ask, layout: Path) -> None:
    target = LayoutSource(LayoutReference(layout)).resolve()
    (layout / "blobs/sha256" / target.digest.encoded).write_bytes(b"x" * target.size)

    response, body = ask("/v2/demo/manifests/1")

    assert response.status == 500
    assert json.loads(body)["errors"][0]["message"] == "MismatchError"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(ask: Ask, method: str) -> None:
    response, body = ask("/v2/demo/blobs/uploads/", method)

    assert response.status == HTTPStatus.METHOD_NOT_ALLOWED
    assert json.loads(body)["errors"][0]["code"] == "UNSUPPORTED"


def test_the_body_of_a_request_is_not_taken_for_the_next_request(server: Server) -> None:
    with socket.create_connection(server.address, timeout=30) as connection:
        smuggled = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
        head = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
        connection.sendall(head + smuggled)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in answer


def test_a_connection_serves_many_requests_and_many_connections_at_once(server: Server, layout: Path) -> None:
    target = LayoutSource(LayoutReference(layout)).resolve()
    got: list[int] = []

    def client() -> None:
        with closing(http.client.HTTPConnection(*server.address, timeout=30)) as connection:
            for _ in range(5):
                connection.request("GET", f"/v2/demo/manifests/{target.digest}")
                got.append(len(connection.getresponse().read()))

    threads = [threading.Thread(target=client) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got == [target.size] * 50


def test_stopping_ends_idle_connections_and_finishes_answers_under_way(layout: Path) -> None:
    blob = put_blob(layout, os.urandom(20_000_000), "application/octet-stream")
    server = Server(("127.0.0.1", 0), *open_layout(layout))
    server.start()
    with (
        closing(http.client.HTTPConnection(*server.address, timeout=30)) as idle,
        closing(http.client.HTTPConnection(*server.address, timeout=30)) as busy,
    ):
        idle.request("GET", "/v2/")
        idle.getresponse().read()
        busy.request("GET", f"/v2/demo/blobs/{blob.digest}")
        response = busy.getresponse()
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        body = response.read()
        stopping.join()

    assert Digest.of(body) == blob.digest
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address, timeout=5)


def test_an_address_that_is_taken_is_told(server: Server, layout: Path) -> None:
    with pytest.raises(UnavailableError, match=at(server)):
        Server(server.address, *open_layout(layout))


@pytest.mark.parametrize(
    ("repository", "namespace", "expected"),
    [
        ("library/demo", [], ["docker.io/library/demo:1", "localhost/library/demo:1"]),
        ("demo", [], ["docker.io/library/demo:1", "localhost/demo:1"]),
        ("ghcr.io/team/app", [], ["ghcr.io/team/app:1"]),
        ("team/app", ["ghcr.io"], ["ghcr.io/team/app:1"]),
    ],
)
def test_a_repository_may_mean_several_names(repository: str, namespace: list[str], expected: list[str]) -> None:
    assert list(candidate_names(repository, "1", namespace)) == expected
