"""Mirrors that fail: set aside for all processes, and replaced by the next server in the middle of a blob."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.verify import verify
from prestow.errors import MismatchError, NotFoundError, PrestowError, UnavailableError
from prestow.oci.descriptor import Descriptor
from prestow.platforms import Platform
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.registry.health import LONGEST, SHORTEST, Health
from prestow.registry.source import Source, Sources
from tests.hosts_files import mirrored, write_hosts
from tests.image_factory import put_blob
from tests.registries import Fault, FaultRegistry

BYTES = bytes(range(256)) * 4000
AMD64 = Platform.parse("linux/amd64")
Connect = Callable[..., Source]


@pytest.fixture
def mirror(fault_registry: FaultRegistry) -> Iterator[FaultRegistry]:
    with FaultRegistry(fault_registry.layout) as running:
        yield running


@pytest.fixture
def blob(fault_registry: FaultRegistry) -> Descriptor:
    return put_blob(fault_registry.layout, BYTES, "application/octet-stream")


@pytest.fixture
def health(tmp_path: Path) -> Health:
    return Health(tmp_path / "registries")


@pytest.fixture
def connect(fault_registry: FaultRegistry, health: Health, tmp_path: Path) -> Iterator[Connect]:
    """Open the registry with mirrors before it, in the order given."""
    with ExitStack() as stack:

        def opened(*mirrors: FaultRegistry) -> Source:
            options = mirrored(tmp_path / "hosts", fault_registry.domain, *(mirror.domain for mirror in mirrors))
            sources = stack.enter_context(Sources(options, health=health))
            return sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo"))

        yield opened


def origins(health: Health) -> list[str]:
    return [record.origin for record in health.every()]


def test_a_dead_mirror_is_asked_once_for_a_whole_image(
    mirror: FaultRegistry, connect: Connect, health: Health, content: LocalStore
) -> None:
    mirror.on("", Fault(status=503))
    source = connect(mirror)

    for layer in fetch_manifest(source, content, source.resolve(), AMD64).layers:
        fetch_blob(source, content, layer.descriptor)

    assert len(mirror.seen) == 1
    assert origins(health) == [f"http://{mirror.domain}"]
    assert "503" in health.every()[0].why


def test_another_process_does_not_ask_it_either(
    mirror: FaultRegistry, connect: Connect, health: Health, tmp_path: Path
) -> None:
    mirror.on("", Fault(status=503))
    connect(mirror).resolve()
    program = (
        "import sys; from pathlib import Path; from prestow.registry.health import Health; "
        "print(Health(Path(sys.argv[1])).aside(sys.argv[2]) is not None)"
    )
    asked = [sys.executable, "-c", program, str(tmp_path / "registries")]

    assert subprocess.check_output([*asked, f"http://{mirror.domain}"], text=True) == "True\n"
    assert subprocess.check_output([*asked, "http://other.example"], text=True) == "False\n"


@pytest.mark.parametrize("status", [401, 404])
def test_a_mirror_that_lacks_an_image_or_keeps_it_from_us_is_asked_for_others(
    mirror: FaultRegistry, connect: Connect, health: Health, status: int
) -> None:
    mirror.on("", Fault(status=status))

    connect(mirror).resolve()

    assert health.every() == ()


@pytest.mark.parametrize("fault", [Fault(drop_after=300_000), Fault(drop_after=0)], ids=["middle", "start"])
def test_the_next_server_goes_on_at_the_byte_reached(
    fault_registry: FaultRegistry,
    mirror: FaultRegistry,
    connect: Connect,
    content: LocalStore,
    health: Health,
    blob: Descriptor,
    fault: Fault,
) -> None:
    mirror.on("/blobs/", fault)

    fetched = fetch_blob(connect(mirror), content, blob)

    assert (fetched.fetched_bytes, verify(content, blob).size) == (blob.size, blob.size)
    (seen,) = fault_registry.requests("/blobs/")
    assert seen.headers.get("Range", "bytes=0-") == f"bytes={fault.drop_after}-"
    assert len(mirror.requests("/blobs/")) == 1
    assert origins(health) == [f"http://{mirror.domain}"]


def test_each_mirror_that_breaks_off_is_replaced(
    fault_registry: FaultRegistry, mirror: FaultRegistry, connect: Connect,
    content: LocalStore, blob: Descriptor,
) -> None:  # fmt: skip
    with FaultRegistry(fault_registry.layout) as second:
        mirror.on("/blobs/", Fault(drop_after=100_000))
        second.on("/blobs/", Fault(drop_after=200_000))
        fetch_blob(connect(mirror, second), content, blob)

        ranges = [
            seen.headers.get("Range") for each in (mirror, second, fault_registry) for seen in each.requests("/blobs/")
        ]

    assert ranges == [None, "bytes=100000-", "bytes=300000-"]
    verify(content, blob)


@pytest.mark.parametrize("body", [b"x" * len(BYTES), b"x" * (len(BYTES) + 1)], ids=["other", "more"])
@pytest.mark.parametrize("chunked", [False, True])
def test_wrong_bytes_come_from_the_next_server_and_the_mirror_is_named(
    mirror: FaultRegistry,
    connect: Connect,
    content: LocalStore,
    health: Health,
    blob: Descriptor,
    body: bytes,
    chunked: bool,  # noqa: FBT001 - a table
) -> None:
    mirror.on("/blobs/", Fault(body=body, chunked=chunked))

    fetch_blob(connect(mirror), content, blob)

    assert verify(content, blob).digest == blob.digest
    (record,) = health.every()
    assert record.origin == f"http://{mirror.domain}"
    assert "bytes" in record.why


def test_the_reason_is_told_where_the_only_server_breaks_off(
    fault_registry: FaultRegistry, content: LocalStore, health: Health, blob: Descriptor, tmp_path: Path
) -> None:
    options = write_hosts(tmp_path / "hosts", "registry.example", f'server = "{fault_registry.url}"')
    fault_registry.on("/blobs/", Fault(drop_after=0))

    with Sources(options, health=health) as sources:
        source = sources.open(Reference.parse("registry.example/team/app:demo"))
        with pytest.raises(UnavailableError, match=f"{fault_registry.domain}.*broke"):
            fetch_blob(source, content, blob)


def test_wrong_bytes_after_a_mirror_broke_off_are_fetched_again(
    fault_registry: FaultRegistry, mirror: FaultRegistry, connect: Connect, content: LocalStore, blob: Descriptor
) -> None:
    with FaultRegistry(fault_registry.layout) as second:
        mirror.on("/blobs/", Fault(body=b"x" * len(BYTES), drop_after=100_000))

        fetched = fetch_blob(connect(mirror, second), content, blob)

        assert (fetched.fetched_bytes, verify(content, blob).size) == (2 * blob.size, blob.size)


def test_wrong_documents_come_from_the_next_server(
    mirror: FaultRegistry, connect: Connect, content: LocalStore, health: Health
) -> None:
    source = connect(mirror)
    target = source.resolve()
    mirror.on("/manifests/sha256", Fault(body=b"{" + b" " * (target.size - 2) + b"}"), method="GET")

    assert fetch_manifest(source, content, target, AMD64).layers
    assert origins(health) == [f"http://{mirror.domain}"]


def test_wrong_bytes_of_the_registry_itself_are_an_error(
    fault_registry: FaultRegistry, connect: Connect, content: LocalStore, blob: Descriptor
) -> None:
    fault_registry.on("/blobs/", Fault(body=b"x" * len(BYTES)))

    fetch_blob(connect(), content, blob)
    with pytest.raises(MismatchError):
        verify(content, blob)


@pytest.mark.parametrize("attempts", [1, 2])
def test_wrong_bytes_of_the_only_server_are_an_error_each_time_though_it_is_another_one_than_the_registry(
    fault_registry: FaultRegistry, content: LocalStore, health: Health, blob: Descriptor, tmp_path: Path, attempts: int
) -> None:
    options = write_hosts(tmp_path / "hosts", "registry.example", f'server = "{fault_registry.url}"')
    fault_registry.on("/blobs/", Fault(body=b"x" * len(BYTES)))

    with Sources(options, health=health) as sources:
        source = sources.open(Reference.parse("registry.example/team/app:demo"))
        for _ in range(attempts):
            fetch_blob(source, content, blob)
            with pytest.raises(MismatchError, match=f"expected digest {blob.digest}, found"):
                verify(content, blob)


def test_where_the_registry_gives_no_answer_a_mirror_that_is_set_aside_is_asked(
    fault_registry: FaultRegistry, mirror: FaultRegistry, connect: Connect, health: Health
) -> None:
    health.set_aside(f"http://{mirror.domain}", "before")
    fault_registry.on("", Fault(status=503))

    assert connect(mirror).resolve()
    assert health.every() == ()


def test_the_registry_s_own_refusal_counts_though_a_mirror_is_set_aside(
    fault_registry: FaultRegistry, mirror: FaultRegistry, connect: Connect, health: Health
) -> None:
    health.set_aside(f"http://{mirror.domain}", "before")
    fault_registry.on("", Fault(status=404))

    with pytest.raises(NotFoundError, match=fault_registry.domain):
        connect(mirror).resolve()
    assert mirror.seen == []


def test_a_mirror_is_set_aside_for_longer_each_time_until_it_answers(tmp_path: Path) -> None:
    now = [1000.0]
    health = Health(tmp_path / "registries", clock=lambda: now[0])
    delays = []
    for _ in range(7):
        delays.append(health.set_aside("http://m", "why\x1b").delay)
        assert health.set_aside("http://m", "at once").delay == delays[-1]  # another process saw the same
        now[0] += delays[-1]
        assert health.aside("http://m") is None

    assert delays == [SHORTEST, 60, 120, 240, 480, LONGEST, LONGEST]
    health.succeed("http://m")
    assert health.set_aside("http://m", "again").delay == SHORTEST
    assert health.every()[0].why == "again"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'{"origin": "http://m"}', b"\xff" * 5000,
        b'{"origin": "http://m", "until": 1e12, "delay": 30, "why": ""}',
        b'{"origin": "http://m", "until": "soon", "delay": 30, "why": ""}',
        b'{"origin": "http://other", "until": 1010, "delay": 30, "why": ""}',
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_sets_nothing_aside(tmp_path: Path, content: bytes) -> None:
    health = Health(tmp_path, clock=lambda: 1000.0)
    health.set_aside("http://m", "why")
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)

    assert health.aside("http://m") is None
    assert health.set_aside("http://m", "why").delay == SHORTEST


def test_a_directory_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    health = Health(tmp_path / "file/registries")

    assert health.set_aside("http://m", "why").delay == SHORTEST
    assert health.aside("http://m") is None
    health.succeed("http://m")


def test_a_cancelled_pull_sets_no_mirror_aside(mirror: FaultRegistry, connect: Connect, health: Health) -> None:
    from prestow.cancellation import Token, watched

    token = Token()
    token.cancel("by a test")

    with watched(token), pytest.raises(PrestowError):
        connect(mirror).resolve()
    assert health.every() == ()
