"""A run that somebody ends: the work stops, the API knows it as cancelled, and the next run goes on from the store."""

import os
import signal
import threading
from collections.abc import Callable
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import StateType
from prefect.exceptions import CancelledRun
from prefect.states import Cancelling

from flows.cancelling import OpenRuns, noticed
from flows.prepull import prepull
from flows.pull import pull
from prestow.cancellation import Token, watched
from prestow.content.verify import verify
from prestow.digest import Digest
from prestow.node import open_node
from prestow.oci.descriptor import Descriptor
from prestow.registry.fetch import fetch_layer
from tasks.policy import NOWHERE
from tests.prefect_records import _until, ended, flow_run_id, task_runs
from tests.registries import Fault, FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")


def stuck(registry: FaultRegistry, home: str) -> tuple[str, str]:
    """Let one layer come no further than its first 300 bytes, the others being here; give the image and that layer."""
    reference = f"{registry.domain}/team/demo:demo"
    first, *others = pull(reference, stop_after="manifest-stored", home=home).layers
    layer, node = first.digest, open_node(home)
    for other in others:
        blob = Descriptor(other.media_type, Digest(other.digest), other.size)
        fetch_layer(node.source(reference), node.content, blob)
        verify(node.content, blob)
    registry.on(f"/blobs/{layer}", Fault(stall_after=300))
    return reference, layer


def when_stuck(home: str, layer: str, then: Callable[[], object]) -> None:
    """Do something, in another thread, when the store has as much of a layer as the registry gives."""

    def part() -> list[int]:
        status = open_node(home).content.status(f"layer-{layer}")
        return [status.offset] if status is not None and status.offset == 300 else []

    def wait() -> None:
        _until(part, 1, f"a part of {layer}")
        then()

    threading.Thread(target=wait, daemon=True).start()


def runs_named(name: str) -> list[UUID]:
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return [run.id for run in found if run.state is not None and not run.state.is_final()]


def cancel_in_the_ui(name: str) -> None:
    """Do what the button does."""
    (run,) = runs_named(name)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())


def goes_on(registry: FaultRegistry, reference: str, layer: str, home: str) -> None:
    registry._rules.clear()
    assert pull(reference, home=home).checkpoint == "tagged"
    blobs = [seen.path for seen in registry.requests("/blobs/", "GET")]
    assert {path for path in blobs if blobs.count(path) > 1} == {path for path in blobs if layer in path}
    assert registry.requests(layer)[-1].headers.get("Range") == "bytes=300-"


def test_a_run_that_is_cancelled_in_the_ui_stops_and_the_next_goes_on(home: str, fault_registry: FaultRegistry) -> None:
    reference, layer = stuck(fault_registry, home)
    when_stuck(home, layer, lambda: cancel_in_the_ui(f"pull {reference}"))

    state = pull(reference, home=home, return_state=True)

    with pytest.raises(CancelledRun, match="cancelled at the Prefect API"):
        state.result()
    run = ended(flow_run_id(state))
    assert (run.state_type, run.state_name) == (StateType.CANCELLED, "Cancelled")
    assert "Running" not in {each.state_name for each in task_runs(run.id, 6)}
    goes_on(fault_registry, reference, layer, home)


def test_whoever_embeds_a_pull_cancels_it_by_its_token(home: str, fault_registry: FaultRegistry) -> None:
    reference, layer = stuck(fault_registry, home)
    with watched(Token()) as token:
        when_stuck(home, layer, lambda: token.cancel("not today"))
        with pytest.raises(CancelledRun, match="not today"):
            pull(reference, home=home)

    goes_on(fault_registry, reference, layer, home)


def test_ctrl_c_in_a_program_is_a_keyboard_interrupt_and_the_run_is_cancelled(
    home: str, fault_registry: FaultRegistry
) -> None:
    reference, layer = stuck(fault_registry, home)
    when_stuck(home, layer, lambda: os.kill(os.getpid(), signal.SIGINT))
    known: list[UUID] = []

    @flow(persist_result=False, result_storage=NOWHERE)
    def of_somebody_else() -> None:
        try:
            pull(reference, home=home)
        finally:
            known.extend(runs_named(f"pull {reference}"))

    with pytest.raises(KeyboardInterrupt):
        of_somebody_else()

    assert known == []
    goes_on(fault_registry, reference, layer, home)


def test_cancelling_a_pre_pull_cancels_its_pulls(home: str, fault_registry: FaultRegistry) -> None:
    reference, layer = stuck(fault_registry, home)
    other = f"{fault_registry.domain}/team/other:demo"
    with watched(Token()) as token:
        when_stuck(home, layer, lambda: token.cancel("enough"))
        state = prepull([reference, other], parallel=2, home=home, return_state=True)

    assert state.type is StateType.CANCELLED
    assert [runs_named(f"pull {each}") for each in (reference, other)] == [[], []]


def test_a_process_that_must_leave_tells_the_api_of_its_open_runs() -> None:
    runs, states = OpenRuns(), []

    @flow(persist_result=False, result_storage=NOWHERE)
    def one() -> None:
        from prefect.runtime import flow_run  # noqa: PLC0415

        runs.open(UUID(flow_run.id))
        runs.cancel()
        with get_client(sync_client=True) as client:
            states.append(client.read_flow_run(UUID(flow_run.id)).state_name)

    with noticed(runs):
        one(return_state=True)

    assert states == ["Cancelled"]
