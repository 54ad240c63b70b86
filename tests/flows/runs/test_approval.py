"""A run that is held until a person approves, in a process that no worker started."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import CancelledRun
from prefect.states import Cancelling

from flows.forms.parameters import PullHold
from flows.pull import pull
from flows.runs.approval import Approval, asking, hold
from prestow.digest import Digest
from prestow.errors import PreconditionError
from prestow.store.node import open_node
from tests.image_factory import put_image, tag
from tests.prefect_records import ended, flow_run_id, until
from tests.registries import FaultRegistry
from tests.tar_builder import Tar

pytestmark = pytest.mark.usefixtures("prefect_server")

CHECKPOINTS = [word for option in get_args(get_args(PullHold)[0]) for word in get_args(option)]
CHECKPOINTS.remove("handed-over")  # see tests/flows/cli/test_hand_over.py: that needs a runtime


def held(name: str) -> FlowRun:
    """Wait until a run of that name waits for a person."""

    def waiting() -> list[FlowRun]:
        with get_client(sync_client=True) as client:
            found = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
        return [run for run in found if run.state is not None and run.state.is_paused()]

    return until(waiting, 1, f"{name} to wait")[0]


def form(run: FlowRun) -> tuple[dict[str, Any], str]:
    """Return schema and description, as the UI reads them."""
    assert run.state is not None
    keys = run.state.state_details.run_input_keyset
    assert keys is not None
    with get_client(sync_client=True) as client:
        raw = [client.read_flow_run_input(run.id, keys[which]) for which in ("schema", "description")]
    return json.loads(raw[0]), json.loads(raw[1])


def answer(run: UUID, **values: str) -> Any:
    with get_client(sync_client=True) as client:
        return client.resume_flow_run(run, run_input=values)


def meanwhile(name: str, then: Callable[[FlowRun], object]) -> None:
    threading.Thread(target=lambda: then(held(name)), daemon=True).start()


def test_a_run_in_an_event_loop_is_held_and_goes_on(home: str, demo_layout: Path) -> None:
    reference = f"oci:{demo_layout}:demo"

    async def notebook() -> str:
        return pull(reference, hold_after="resolved", home=home, name="localhost/notebook:1").checkpoint

    meanwhile(f"pull {reference}", lambda run: answer(run.id, decision="approve"))

    assert asyncio.run(notebook()) == "tagged"


def test_a_run_is_held_shows_the_image_and_goes_on_when_somebody_approves(
    home: str, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    seen: list[Any] = []

    def look(run: FlowRun) -> None:
        seen.extend([*form(run), len(fault_registry.requests("/blobs/"))])
        seen.append(answer(run.id, decision="perhaps").status)
        seen.append(answer(run.id).status)
        answer(run.id, decision="approve")

    meanwhile(f"pull {reference}", look)
    pulled = pull(reference, hold_after="manifest-stored", home=home)

    schema, description, blobs, *refused = seen
    assert pulled.checkpoint == "tagged"
    assert schema["properties"]["decision"]["enum"] == ["approve", "refuse"]
    assert schema["required"] == ["decision"]
    for word in (
        reference,
        pulled.digest,
        pulled.manifest_digest,
        "linux/amd64",
        "/bin/hello",
        "entrypoint",
        "3 layers",
    ):
        assert str(word) in description
    assert blobs == 1  # the config
    assert refused == ["REJECT", "REJECT"]


def test_a_run_that_is_refused_ends_as_cancelled_with_the_reason(home: str, fault_registry: FaultRegistry) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    meanwhile(f"pull {reference}", lambda run: answer(run.id, decision="refuse", reason="runs as root\x1b"))

    state = pull(reference, hold_after="unpacked", home=home, return_state=True)

    with pytest.raises(CancelledRun, match=r"refused by a person after unpacked: runs as root\\x1b"):
        state.result()
    run = ended(flow_run_id(state))
    assert (run.state_type, run.state.message) == (StateType.CANCELLED, str(state.message))
    assert open_node(home).images.list() == ()
    assert pull(reference, home=home).fetched_bytes == 0


def test_a_run_that_is_held_can_be_cancelled(home: str, fault_registry: FaultRegistry) -> None:
    reference = f"{fault_registry.own}/demo:demo"

    def cancel(run: FlowRun) -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Cancelling())

    meanwhile(f"pull {reference}", cancel)
    state = pull(reference, hold_after="resolved", home=home, return_state=True)

    assert state.type is StateType.CANCELLED
    assert ended(flow_run_id(state)).state_type is StateType.CANCELLED


class Somebody:
    """A person who answers at once, after doing something."""

    def __init__(self, first: Callable[[], object] = bool) -> None:
        self.shown: list[str] = []
        self.first = first

    def ask(self, description: str, url: str | None) -> None:  # noqa: ARG002 - as asked
        """Keep what is shown."""
        self.shown.append(description)
        self.first()

    def answer(self, seconds: float) -> Approval:  # noqa: ARG002 - as asked
        """Approve."""
        return Approval(decision="approve")


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_at_every_checkpoint_a_person_at_the_terminal_may_be_asked_and_the_run_may_stop(
    home: str, fault_registry: FaultRegistry, checkpoint: Any
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    somebody = Somebody()
    with asking(somebody):
        state = pull(reference, hold_after=checkpoint, stop_after=checkpoint, home=home, return_state=True)

    (shown,) = somebody.shown
    assert f"`{checkpoint}`" in shown
    assert state.result().checkpoint == checkpoint
    with get_client(sync_client=True) as client:
        names = [each.name for each in client.read_flow_run_states(flow_run_id(state))]
    assert names[-3:] == ["Paused", "Running", "Completed"]


def test_what_was_approved_is_what_is_pulled_though_its_tag_moves_meanwhile(
    home: str, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/demo:demo"
    somebody = Somebody(lambda: tag(fault_registry.layout, other, "demo"))
    other = put_image(fault_registry.layout, [Tar().file("other", b"x").to_bytes()])
    with asking(somebody):
        pulled = pull(reference, hold_after="resolved", home=home)

    assert f"`{pulled.digest}`" in somebody.shown[0]
    assert open_node(home).image(reference).target.digest == pulled.digest != other.digest


def test_outside_a_run_nobody_can_be_asked() -> None:
    with pytest.raises(PreconditionError, match="only a flow run can be held"):
        hold("resolved", Digest.of(b""), "an image")
