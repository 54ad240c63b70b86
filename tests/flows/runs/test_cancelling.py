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

from flows.prepull import prepull
from flows.pull import pull
from flows.runs.cancelling import OpenRuns, noticed
from prestow.cancellation import Token, watched
from tasks.policy import NOWHERE
from tests.prefect_records import ended, flow_run_id, task_runs
from tests.registries import FaultRegistry
from tests.stalled import Stalled, stalled

pytestmark = pytest.mark.usefixtures("prefect_server")


def when_stalled(hung: Stalled, then: Callable[[], object]) -> None:
    """Do something, in another thread, when a pull hangs."""

    def wait() -> None:
        hung.wait()
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


def goes_on(hung: Stalled) -> None:
    hung.recover()
    assert pull(hung.reference, home=hung.home).checkpoint == "tagged"
    hung.check()


def test_a_run_that_is_cancelled_in_the_ui_stops_and_the_next_goes_on(home: str, fault_registry: FaultRegistry) -> None:
    hung = stalled(fault_registry, home)
    reference = hung.reference
    when_stalled(hung, lambda: cancel_in_the_ui(f"pull {reference}"))

    state = pull(reference, home=home, return_state=True)

    with pytest.raises(CancelledRun, match="cancelled at the Prefect API"):
        state.result()
    run = ended(flow_run_id(state))
    assert (run.state_type, run.state_name) == (StateType.CANCELLED, "Cancelled")
    assert "Running" not in {each.state_name for each in task_runs(run.id, 6)}
    goes_on(hung)


def test_whoever_embeds_a_pull_cancels_it_by_its_token(home: str, fault_registry: FaultRegistry) -> None:
    hung = stalled(fault_registry, home)
    reference = hung.reference
    with watched(Token()) as token:
        when_stalled(hung, lambda: token.cancel("not today"))
        with pytest.raises(CancelledRun, match="not today"):
            pull(reference, home=home)

    goes_on(hung)


def test_ctrl_c_in_a_program_is_a_keyboard_interrupt_and_the_run_is_cancelled(
    home: str, fault_registry: FaultRegistry
) -> None:
    hung = stalled(fault_registry, home)
    reference = hung.reference
    when_stalled(hung, lambda: os.kill(os.getpid(), signal.SIGINT))
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
    goes_on(hung)


def test_cancelling_a_pre_pull_cancels_its_pulls(home: str, fault_registry: FaultRegistry) -> None:
    hung = stalled(fault_registry, home)
    reference = hung.reference
    other = f"{fault_registry.own}/other:demo"
    with watched(Token()) as token:
        when_stalled(hung, lambda: token.cancel("enough"))
        state = prepull([reference, other], parallel=2, home=home, return_state=True)

    assert state.type is StateType.CANCELLED
    assert [runs_named(f"pull {each}") for each in (reference, other)] == [[], []]


def test_a_process_that_must_leave_tells_the_api_of_its_open_runs() -> None:
    runs, states = OpenRuns(), []

    @flow(persist_result=False, result_storage=NOWHERE)
    def one() -> None:
        from prefect.runtime import flow_run

        runs.open(UUID(flow_run.id))
        runs.cancel()
        with get_client(sync_client=True) as client:
            states.append(client.read_flow_run(UUID(flow_run.id)).state_name)

    with noticed(runs):
        one(return_state=True)

    assert states == ["Cancelled"]
