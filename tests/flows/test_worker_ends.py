"""Runs that a real worker started: cancelled in the UI, suspended for a person."""

import json
import sys
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.sorting import LogSort
from prefect.states import Cancelling

from flows.deploying import deploy
from flows.local_server.ensure import Server, environment
from prestow.runtime.binary import find_runtime
from prestow.runtime.state import container_state
from prestow.store.node import open_node
from tests.image_factory import put_image, tag
from tests.prefect_records import ended, task_runs, until
from tests.real_images import RealImages
from tests.registries import DockerRegistry, FaultRegistry
from tests.stalled import stalled
from tests.tar_builder import Tar
from tests.wheels import ROOT
from tests.workers import answer, created, process_of, suspended, without_prefect, worker

POOL = "prestow"


@pytest.fixture(scope="module")
def start(
    deploying: None, prefect_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., UUID]]:
    """Yield what creates a run of ``pull``, which a worker takes; the worker stays for all tests."""
    deploy(ROOT)
    log = tmp_path_factory.mktemp("worker") / "log"
    with worker(sys.executable, {**without_prefect(), **environment(prefect_server)}, log):
        yield created


@pytest.mark.long
def test_a_run_that_is_cancelled_in_the_ui_ends_its_process_and_the_next_run_goes_on(
    start: Callable[..., UUID], home: str, fault_registry: FaultRegistry
) -> None:
    hung = stalled(fault_registry, home)
    run = start(reference=hung.reference, home=home)
    hung.wait()

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())
    last = ended(run)
    hung.recover()
    again = ended(start(reference=hung.reference, home=home))

    assert (last.state_name, again.state_name) == ("Cancelled", "Completed")
    with get_client(sync_client=True) as client:
        cancelling, cancelled = client.read_flow_run_states(run)[-2:]
    assert (cancelled.timestamp - cancelling.timestamp).total_seconds() < 30  # after that a worker kills
    assert process_of(run) == []
    hung.check()


@pytest.mark.long
def test_a_container_ends_with_its_cancelled_run(
    start: Callable[..., UUID], home: str, docker_registry: DockerRegistry, real_images: RealImages
) -> None:
    image = real_images.push(docker_registry, "tiny", "oci")
    script = ("-c", "echo waiting; sleep 1000 & wait")  # the first process of a container ignores SIGTERM
    run = start("run/run", reference=image, args=script, id="box", rm=True, home=home)
    until(lambda: ["it"] if container_started(home) else [], 1, "the container to run")

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())

    assert ended(run).state_name == "Cancelled"
    assert not container_started(home)
    assert process_of(run) == []
    assert open_node(home).containers.list() == ()


@pytest.mark.long
def test_what_a_container_wrote_is_in_the_log_of_its_run_to_the_last_line(
    start: Callable[..., UUID], home: str, docker_registry: DockerRegistry, real_images: RealImages
) -> None:
    image = real_images.push(docker_registry, "tiny", "oci")
    script = r"seq 1 3000; printf '\303\244\033[31m\377\n'; echo Traceback >&2; printf 'disk 17 is full'; exit 7"

    run = start("run/run", reference=image, args=("-c", script), rm=True, home=home)

    last = ended(run)
    assert last.state is not None
    assert last.state_name == "Failed"
    assert "status 7" in str(last.state.message)
    assert str(last.state.message).endswith("| disk 17 is full")
    logged = messages(run)
    numbers = [line for line in logged if line.isdecimal()]
    assert numbers == [str(number) for number in range(1, 3001)]
    assert r"ä\x1b[31m\xff" in logged
    assert {"Traceback", "disk 17 is full"} <= set(logged)


def messages(run: UUID) -> list[str]:
    """Return the log of a run that has ended, in its order."""
    wanted, found = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])), list[str]()
    with get_client(sync_client=True) as client:
        while page := client.read_logs(wanted, limit=200, offset=len(found), sort=LogSort.TIMESTAMP_ASC):
            found += [log.message for log in page]
    return found


def container_started(home: str) -> bool:
    state = container_state(find_runtime("runc"), "box", state_root=open_node(home).own / "runtime")
    return state is not None and state.alive


@pytest.mark.long
def test_a_suspended_run_shows_the_image_and_another_process_goes_on_after_the_answer(
    start: Callable[..., UUID], home: str, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.domain}/team/demo:demo"
    run = start(reference=reference, hold_after="layer-stored", home=home)
    waiting = suspended(run)
    until(lambda: [0] if not process_of(run) else [], 1, "the end of its process")
    blobs = len(fault_registry.requests("/blobs/", "GET"))
    keys = waiting.state.state_details.run_input_keyset if waiting.state else None
    assert keys is not None

    with get_client(sync_client=True) as client:
        description = until(lambda: [client.read_flow_run_input(run, keys["description"])], 1, "the form")[0]
    answer(run, "approve")
    last = ended(run)

    assert reference in json.loads(description)
    assert last.state_name == "Completed"
    assert len(fault_registry.requests("/blobs/", "GET")) == blobs
    names = [task_run.state_name for task_run in task_runs(run, 5 + 6 + 1 + 3 + 2)]
    assert names.count("Cached") == 1 + 3 + 3
    assert open_node(home).image(reference)


@pytest.mark.long
def test_a_suspended_run_whose_tag_has_moved_is_held_again(
    start: Callable[..., UUID], home: str, fault_registry: FaultRegistry
) -> None:
    run = start(reference=f"{fault_registry.domain}/team/demo:demo", hold_after="resolved", home=home)
    first = suspended(run)
    other = tag(fault_registry.layout, put_image(fault_registry.layout, [Tar().file("f", b"x").to_bytes()]), "demo")

    answer(run, "approve")
    with get_client(sync_client=True) as client:
        again = until(lambda: [s for s in client.read_flow_run_states(run) if s.name == "Suspended"], 2, "two holds")
    answer(run, "refuse")

    assert first.state is not None
    assert again[0].id == first.state.id
    assert other.digest.encoded[:32] in str(again[1].state_details.pause_key)
    assert ended(run).state_name == "Cancelled"


@pytest.mark.long
def test_a_suspended_run_that_is_refused_is_cancelled_with_the_reason(
    start: Callable[..., UUID], home: str, fault_registry: FaultRegistry
) -> None:
    run = start(reference=f"{fault_registry.domain}/team/demo:demo", hold_after="manifest-stored", home=home)
    suspended(run)

    answer(run, "refuse", reason="not signed")
    last = ended(run)

    assert (last.state_name, last.state and last.state.message) == (
        "Cancelled", "refused by a person after manifest-stored: not signed"
    )  # fmt: skip
    assert open_node(home).images.list() == ()
