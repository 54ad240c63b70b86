"""What one server is asked to bear: connections, bytes a second, and rests, for all threads and processes."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Lock

import pytest

from prestow.cancellation import Token, watched
from prestow.content.local import LocalStore
from prestow.errors import CancelledError, UnavailableError
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_LAYER
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.hosts import Endpoint, Options
from prestow.registry.pacing import Pacing
from prestow.registry.source import Source, Sources
from prestow.registry.url import Url
from tests.image_factory import put_blob
from tests.processes import Child
from tests.registries import Fault, FaultRegistry
from tests.wheels import ROOT

HOLDER = """
import sys, time
from pathlib import Path
from prestow.registry.hosts import Endpoint
from prestow.registry.pacing import Pacing
from prestow.registry.url import Url
server = Endpoint(Url.parse("https://registry.example/v2"), "registry.example", "registry.example", connections=1)
with Pacing(Path(sys.argv[1])).turn(server):
    print("held", flush=True)
    time.sleep(600)
"""
SERVER = Endpoint(Url.parse("https://registry.example/v2"), "registry.example", "registry.example", connections=3)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "registries"


@pytest.fixture
def layers(fault_registry: FaultRegistry) -> list[Descriptor]:
    return [put_blob(fault_registry.layout, bytes([number]) * 1000, OCI_LAYER) for number in range(4)]


class Clock:
    """A wall clock that a test sets."""

    now = 1_700_000_000.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def processes(fault_registry: FaultRegistry, directory: Path, clock: Clock) -> Iterator[list[Source]]:
    """The same registry as two processes see it: nothing is common to them but the directory."""
    with ExitStack() as stack:
        each = [
            stack.enter_context(Sources(Options(), pacing=Pacing(directory, clock=lambda: clock.now))) for _ in range(2)
        ]
        yield [sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo")) for sources in each]


def test_a_server_never_has_more_requests_than_it_may_and_gets_as_many(directory: Path) -> None:
    inside, most, lock, together = 0, 0, Lock(), Barrier(SERVER.connections, timeout=60)

    def work(pacing: Pacing) -> None:
        nonlocal inside, most
        with pacing.turn(SERVER):
            with lock:
                inside += 1
                most = max(most, inside)
            together.wait()
            with lock:
                inside -= 1

    processes = [Pacing(directory), Pacing(directory)]
    threads = [threading.Thread(target=work, args=[processes[at % 2]]) for at in range(6 * SERVER.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == SERVER.connections


def test_each_server_has_connections_of_its_own(directory: Path) -> None:
    other = replace(SERVER, base=Url.parse("https://mirror.example/v2"))
    one = replace(SERVER, connections=1)
    pacing = Pacing(directory)

    with pacing.turn(one), pacing.turn(other):
        pass


def test_the_connection_of_a_killed_process_is_free(directory: Path) -> None:
    with Child([sys.executable, "-c", HOLDER, directory], cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        token = Token()
        token.cancel("enough")
        with watched(token), pytest.raises(CancelledError), Pacing(directory).turn(replace(SERVER, connections=1)):
            pass
        holder.kill()
        holder.wait()

        with Pacing(directory).turn(replace(SERVER, connections=1)):
            pass


def test_a_refusal_with_a_wait_stops_every_process_before_it_asks(
    fault_registry: FaultRegistry, processes: list[Source], content: LocalStore, layers: list[Descriptor]
) -> None:
    fault_registry.on("/blobs/", Fault(status=429, headers={"Retry-After": "40"}), times=1)

    for layer, source in zip(layers, processes * 2, strict=True):
        with pytest.raises(UnavailableError, match=rf"{fault_registry.domain} asked for 40 s: .*429") as caught:
            fetch_blob(source, content, layer)
        assert caught.value.retry_after == 40

    assert len(fault_registry.seen) == 1


def test_a_rest_ends_with_one_request_whose_answer_the_others_wait_for(
    fault_registry: FaultRegistry,
    processes: list[Source],
    content: LocalStore,
    layers: list[Descriptor],
    clock: Clock,
) -> None:
    refused = Fault(status=503, headers={"Retry-After": "40"})
    fault_registry.on("/blobs/", refused, times=2)
    with pytest.raises(UnavailableError):
        fetch_blob(processes[0], content, layers[0])
    failed: list[UnavailableError] = []

    def work(source: Source, layer: Descriptor) -> None:
        try:
            fetch_blob(source, content, layer)
        except UnavailableError as error:
            failed.append(error)

    def at_once() -> int:
        before = len(fault_registry.seen)
        threads = [threading.Thread(target=work, args=pair) for pair in zip(processes * 2, layers, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(fault_registry.seen) - before

    clock.now += 41
    assert at_once() == 1
    assert [error.retry_after for error in failed] == [40] * 4

    failed.clear()
    clock.now += 41
    assert at_once() == 4
    assert failed == []


def test_a_first_request_that_fails_in_another_way_leaves_the_next_to_be_first(
    fault_registry: FaultRegistry, processes: list[Source], content: LocalStore, layers: list[Descriptor], clock: Clock
) -> None:
    fault_registry.on("/blobs/", Fault(status=429, headers={"Retry-After": "1"}), times=1)
    fault_registry.on("/blobs/", Fault(raw=b""), times=1)
    with pytest.raises(UnavailableError, match="asked for 1 s"):
        fetch_blob(processes[0], content, layers[0])
    clock.now += 2

    with pytest.raises(UnavailableError, match="broke"):
        fetch_blob(processes[0], content, layers[0])
    fetch_blob(processes[1], content, layers[0])
    fetch_blob(processes[0], content, layers[1])


def test_a_token_service_that_asks_for_a_wait_speaks_for_its_registry(
    fault_registry: FaultRegistry, processes: list[Source]
) -> None:
    realm = f"{fault_registry.url}/token"
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}",service="tests"'}
    fault_registry.on("/v2/", Fault(status=401, headers=challenge))
    fault_registry.on("/token", Fault(status=429, headers={"Retry-After": "9"}))

    for source in processes:
        with pytest.raises(UnavailableError, match="asked for 9 s") as caught:
            source.resolve()
        assert caught.value.retry_after == 9

    assert len(fault_registry.requests("/token")) == 1


def test_a_wait_too_long_to_begin_is_told_with_its_end_and_the_words_of_the_registry(
    fault_registry: FaultRegistry, processes: list[Source]
) -> None:
    words = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull limit."}]}'
    fault_registry.on("/manifests/", Fault(status=429, headers={"Retry-After": "21600"}, body=words))

    for source in processes:
        with pytest.raises(UnavailableError) as caught:
            source.resolve()
        assert "asked for 21600 s, until 2023-11-15 04:13:20 UTC" in str(caught.value)
        assert "You have reached your pull limit." in str(caught.value)

    assert [seen.method for seen in fault_registry.seen] == ["HEAD", "GET"]


def test_the_longer_of_two_waits_counts_whichever_is_told_first(directory: Path, clock: Clock) -> None:
    for waits in ((40, 10), (10, 40)):
        server = replace(SERVER, base=Url.parse(f"https://r{waits[0]}.example/v2"))
        for seconds in waits:
            Pacing(directory, clock=lambda: clock.now).rest(server, seconds, "enough")
        found = Pacing(directory, clock=lambda: clock.now).resting(server)
        assert found is not None
        assert (found.asked, found.until) == (40, clock.now + 40)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[1]", b'{"server": "x", "asked": 1, "until": 1e300, "why": ""}', b'{"until": "soon"}']
)
def test_a_rest_that_makes_no_sense_is_none(directory: Path, text: bytes) -> None:
    pacing = Pacing(directory)
    pacing.rest(SERVER, 100, "enough")
    assert pacing.resting(SERVER) is not None
    assert [rest.server for rest in pacing.every()] == [SERVER.name]
    (file,) = directory.glob("*/rest")

    file.write_bytes(text)

    assert pacing.resting(SERVER) is None
    assert pacing.every() == ()


def test_a_disk_that_takes_no_files_costs_the_limits_and_no_request(directory: Path) -> None:
    directory.write_text("in the way")
    pacing = Pacing(directory)

    assert pacing.rest(SERVER, 100, "enough").retry_after == 100
    with pacing.turn(replace(SERVER, rate=1)) as turn:
        turn.accepted()
        assert list(pacing.paced(replace(SERVER, rate=1), iter([b"x" * 1000]))) == [b"x" * 1000]


def test_all_processes_together_stay_below_the_rate(directory: Path) -> None:
    limited, size = replace(SERVER, rate=100_000), 10_000
    began = time.monotonic()

    def read(pacing: Pacing) -> None:
        with pacing.turn(limited):
            assert sum(map(len, pacing.paced(limited, iter([bytes(1000)] * (size // 1000))))) == size

    threads = [threading.Thread(target=read, args=[Pacing(directory)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # the last piece begins when all pieces before it are paid for
    assert time.monotonic() - began >= (3 * size - 1000) / 100_000
