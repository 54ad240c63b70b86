"""Large blobs over several connections, whatever servers make of ranges."""

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.cancellation import Token, watched
from prestow.content.local import LocalStore
from prestow.content.refs import layer_ref
from prestow.content.verify import verify
from prestow.errors import CancelledError, MismatchError, NotFoundError, PrestowError, UnavailableError
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_LAYER
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.hosts import Options
from prestow.registry.pacing import Pacing
from prestow.registry.source import Source, Sources
from tests.hosts_files import mirrored
from tests.image_factory import put_blob, read_blob, write_demo_image
from tests.processes import Child
from tests.registries import Fault, FaultRegistry, Seen
from tests.wheels import ROOT

CHUNK = 10_000
DATA = random.Random(9).randbytes(95_000)
CHUNKS = 10
OPTIONS = Options(chunk=CHUNK, parallel_from=20_000, connections=4)
FETCH = """
import sys
from pathlib import Path
from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.oci.descriptor import Descriptor
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.hosts import Options
from prestow.registry.source import Sources
home, domain, digest, size = sys.argv[1:]
content = LocalStore(Path(home, "content"), Path(home, "ingest"), durable=False)
with Sources(Options(chunk=10_000, parallel_from=20_000, connections=4)) as sources:
    source = sources.open(Reference.parse(f"{domain}/team/app:demo"))
    blob = Descriptor("x/y", Digest.parse(digest), int(size))
    fetch_blob(source, content, blob, progress=lambda count: print(count, flush=True))
"""


@pytest.fixture
def blob(fault_registry: FaultRegistry) -> Descriptor:
    return put_blob(fault_registry.layout, DATA, OCI_LAYER)


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    with Sources(OPTIONS, pacing=Pacing(tmp_path / "registries")) as opened:
        yield opened


def ranges(seen: list[Seen]) -> list[str | None]:
    return [each.headers.get("Range") for each in seen]


def parts(size: int = len(DATA)) -> set[str | None]:
    return {f"bytes={at}-{min(at + CHUNK, size) - 1}" for at in range(0, size, CHUNK)}


def test_a_large_blob_comes_in_parts_each_of_them_once(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry
) -> None:
    moved: list[int] = []
    arrived: list[int] = []

    fetched = fetch_blob(remote, content, blob, progress=moved.append, arrived=arrived.append)
    verify(content, blob)

    asked = ranges(fault_registry.requests("/blobs/"))
    assert (len(asked), set(asked)) == (CHUNKS, parts())
    assert fetched.fetched_bytes == sum(moved) == len(DATA)
    assert arrived == sorted(arrived)
    assert arrived[-1] == len(DATA)


def test_no_second_part_is_asked_for_before_the_first_has_begun_to_come(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(whole=True))

    fetch_blob(remote, content, blob)
    verify(content, blob)

    assert ranges(fault_registry.requests("/blobs/")) == [f"bytes=0-{CHUNK - 1}", None]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(headers={"Content-Range": f"bytes 0-{CHUNK - 1}/{len(DATA) + 1}"}),
        Fault(headers={"Content-Range": f"bytes 1-{CHUNK}/{len(DATA)}"}),
        Fault(headers={"Content-Range": f"bytes 0-{CHUNK - 2}/{len(DATA)}"}),
        Fault(headers={"Content-Range": None}),
        Fault(body=DATA[: CHUNK - 1]),
        Fault(body=DATA[: CHUNK + 1]),
    ],
    ids=["of more", "one later", "one less", "of nothing", "a body of one less", "a body of one more"],
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_part_that_is_another_is_asked_for_again_and_the_whole_after_the_second(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry, fault: Fault, times: int
) -> None:
    fault_registry.on("/blobs/", fault, times=times)

    fetch_blob(remote, content, blob)
    verify(content, blob)

    asked = ranges(fault_registry.requests("/blobs/"))
    assert asked[:2] == [f"bytes=0-{CHUNK - 1}"] * 2
    assert (None in asked or f"bytes={CHUNK}-" in asked) is (times == 2)


def test_a_part_of_unknown_length_ends_where_it_should(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(body=DATA[: CHUNK + 1], chunked=True), times=1)

    fetch_blob(remote, content, blob)

    verify(content, blob)


def test_a_part_that_breaks_off_is_resumed_alone(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(drop_after=1_000), times=3)  # the rest of each part is longer

    assert fetch_blob(remote, content, blob).fetched_bytes == len(DATA)
    verify(content, blob)

    assert CHUNKS < len(fault_registry.requests("/blobs/")) <= CHUNKS + 3
    assert {asked for asked in ranges(fault_registry.requests("/blobs/")) if asked in parts()} == parts()


def test_a_part_that_breaks_off_again_and_again_ends_the_call_and_the_next_has_what_came(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on(rf"/blobs/{blob.digest}", Fault(drop_after=100), times=40)
    with pytest.raises(UnavailableError):
        fetch_blob(remote, content, blob)
    status = content.status(layer_ref(blob.digest))
    assert status is not None
    assert status.offset > 0
    fault_registry.on("", Fault())

    with suppress(UnavailableError):
        fetch_blob(remote, content, blob)
    again = content.status(layer_ref(blob.digest))

    assert again is not None
    assert again.offset >= status.offset


def test_an_error_of_one_part_is_that_of_the_blob(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(), times=3)
    fault_registry.on("/blobs/", Fault(status=404))

    with pytest.raises(NotFoundError):
        fetch_blob(remote, content, blob)


def test_a_refusal_with_a_wait_ends_all_parts_and_what_came_stays(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(), times=2)
    fault_registry.on("/blobs/", Fault(status=429, headers={"Retry-After": "40"}))

    with pytest.raises(UnavailableError, match="asked for 40 s"):
        fetch_blob(remote, content, blob)
    asked = len(fault_registry.seen)
    with pytest.raises(UnavailableError, match="asked for 40 s"):
        fetch_blob(remote, content, blob)

    assert len(fault_registry.seen) == asked
    assert content.status(layer_ref(blob.digest)).offset >= CHUNK  # type: ignore[union-attr]


def test_a_cancelled_transfer_ends_with_all_its_threads(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", Fault(stall_after=100))

    def progress(_: int) -> None:
        token.cancel("enough")

    with watched(Token()) as token, pytest.raises(CancelledError, match="enough"):
        fetch_blob(remote, content, blob, progress=progress)

    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("part of")] == []


def test_other_bytes_of_the_right_lengths_are_found_by_the_verifying_step(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry
) -> None:
    fault_registry.on(f"/blobs/{blob.digest}", Fault(body=b"x" * CHUNK), times=1)

    fetch_blob(remote, content, blob)

    with pytest.raises(MismatchError):
        verify(content, blob)
    assert content.status(layer_ref(blob.digest)) is None


def test_a_place_on_another_server_is_asked_until_it_refuses(
    remote: Source, content: LocalStore, blob: Descriptor, fault_registry: FaultRegistry
) -> None:
    with FaultRegistry(fault_registry.layout) as store:
        fault_registry.on("/blobs/", Fault(redirect=f"{store.url}/"))
        store.on("/blobs/", Fault(), times=4)
        store.on("/blobs/", Fault(status=403), times=1)

        fetch_blob(remote, content, blob)
        verify(content, blob)

        assert len(store.requests("/blobs/")) == CHUNKS + 1
        assert 2 <= len(fault_registry.requests("/blobs/")) <= 1 + OPTIONS.connections


def test_a_mirror_that_breaks_off_is_replaced_within_a_part(
    fault_registry: FaultRegistry, content: LocalStore, blob: Descriptor, tmp_path: Path
) -> None:
    with FaultRegistry(fault_registry.layout) as mirror:
        mirror.on("/blobs/", Fault(drop_after=4_000))
        hosts = mirrored(tmp_path / "hosts", fault_registry.domain, mirror.domain)
        options = replace(OPTIONS, directories=hosts.directories)
        with Sources(options) as sources:
            fetch_blob(sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo")), content, blob)

    verify(content, blob)
    assert f"bytes=4000-{CHUNK - 1}" in ranges(fault_registry.requests("/blobs/"))


def test_a_mirror_with_other_bytes_is_set_aside_and_the_blob_comes_from_the_registry(
    fault_registry: FaultRegistry, content: LocalStore, blob: Descriptor, tmp_path: Path
) -> None:
    with FaultRegistry(fault_registry.layout) as mirror:
        mirror.on("/blobs/", Fault(body=b"x" * CHUNK), times=1)
        hosts = mirrored(tmp_path / "hosts", fault_registry.domain, mirror.domain)
        options = replace(OPTIONS, directories=hosts.directories)
        with Sources(options) as sources:
            source = sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo"))
            fetched = fetch_blob(source, content, blob)

    verify(content, blob)
    assert fetched.fetched_bytes > len(DATA)


@pytest.mark.parametrize("kills", [5])
def test_what_killed_processes_fetched_is_not_fetched_again(
    fault_registry: FaultRegistry, content: LocalStore, blob: Descriptor, tmp_path: Path, kills: int
) -> None:
    fault_registry.on("/blobs/", Fault(pieces=1_000))
    command = [sys.executable, "-c", FETCH, tmp_path, fault_registry.domain, blob.digest, str(blob.size)]
    for _ in range(kills):
        with Child(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as fetching:
            assert fetching.stdout is not None
            for _ in range(8):
                fetching.stdout.readline()
            fetching.send_signal(signal.SIGKILL)
            fetching.wait()
    before = content.status(layer_ref(blob.digest))
    assert before is not None
    assert before.offset >= 8 * 1_000

    with Sources(OPTIONS) as sources:
        source = sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo"))
        fetched = fetch_blob(source, content, blob).fetched_bytes
    verify(content, blob)

    assert fetched == len(DATA) - before.offset


FAULTS = st.sampled_from(
    [
        Fault(),
        Fault(drop_after=1_234),
        Fault(whole=True),
        Fault(status=500),
        Fault(status=416, body=b""),
        Fault(headers={"Content-Range": "bytes 5-9/95000"}),
        Fault(raw=b"HTTP/1.1 206 Partial\r\n"),
    ]
)


@settings(deadline=None, max_examples=25)
@given(st.lists(FAULTS, max_size=8), st.integers(1, 9), st.integers(5_000, 60_000))
def test_whatever_servers_answer_the_bytes_are_the_same_or_an_error_is_raised(
    faults: list[Fault], connections: int, chunk: int
) -> None:
    with TemporaryDirectory() as folder, ExitStack() as stack:
        layout = Path(folder) / "layout"
        write_demo_image(layout)
        blob = put_blob(layout, DATA, OCI_LAYER)
        content = LocalStore(Path(folder) / "content", Path(folder) / "ingest", durable=False)
        registry = stack.enter_context(FaultRegistry(layout))
        for fault in faults:
            registry.on("/blobs/", fault, times=1)
        options = replace(OPTIONS, connections=connections, chunk=chunk)
        source = stack.enter_context(Sources(options)).open(Reference.parse(f"{registry.domain}/team/app:demo"))
        for _ in faults:
            with suppress(PrestowError):
                fetch_blob(source, content, blob)
        fetch_blob(source, content, blob)

        verify(content, blob)
        assert content.read(blob.digest) == read_blob(layout, blob.digest)
