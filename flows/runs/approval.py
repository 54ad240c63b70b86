"""Hold a run until a person has said yes: ``hold_after``.

    a run that a worker started    is suspended: its process ends, and the answer starts another, which goes on
    any other run                  is paused: its process waits, and asks the person at its terminal if there is one

In both cases the run's page in the UI shows the form below, with what is known of the image. The answer counts for
the digest that was shown: when a tag has moved meanwhile, the run is held again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, cast
from uuid import UUID

from prefect import get_client, suspend_flow_run
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import FlowRunContext
from prefect.input import RunInput
from prefect.input.run_input import Keyset, keyset_from_paused_state
from prefect.logging import get_run_logger
from prefect.states import Paused
from prefect.utilities.urls import url_for
from pydantic import Field

from prestow.cancellation import check, pause
from prestow.checkpoints import Checkpoint
from prestow.digest import Digest
from prestow.errors import CancelledError, PreconditionError, printable
from tasks.journal import note_hold

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_SECONDS = 1.0  # between two looks at the API
_TIMEOUT = 3600  # seconds for the answer to a suspended run, Prefect's default


class Approval(RunInput):
    """The form."""

    decision: Literal["approve", "refuse"] = Field(
        title="Decision", description="approve: the run continues; refuse: it ends as cancelled"
    )
    reason: str = Field(default="", title="Reason", description="Why, for the record", max_length=1000)


A = TypeVar("A", bound=Approval)


class Person(Protocol):
    """A person at the terminal of this process."""

    def ask(self, description: str, url: str | None) -> None:
        """Show what is to be approved, once; ``url`` is the run's page in the UI, where that is known."""

    def answer(self, seconds: float) -> Approval | None:
        """Return the answer, or None if there is none after some ``seconds``.

        Raises:
            CancelledError: the run is to end.
        """


class _Nobody:
    """The run's log tells whoever reads it."""

    def ask(self, description: str, url: str | None) -> None:  # noqa: ARG002 - the form has it
        """Say where the answer is expected."""
        get_run_logger().warning("held until a person approves: resume this run in the Prefect UI %s", url or "")

    def answer(self, seconds: float) -> None:
        """Let time pass."""
        pause(seconds)


_person: ContextVar[Person | None] = ContextVar("person", default=None)


@contextmanager
def asking(person: Person) -> Iterator[None]:
    """Ask ``person`` about the runs in this block."""
    before = _person.set(person)
    try:
        yield
    finally:
        _person.reset(before)


def hold(checkpoint: Checkpoint, digest: Digest, description: str) -> None:
    """Hold the present flow run after a checkpoint until a person has approved the image ``digest``.

    Raises:
        CancelledError: the person refused, or the run was cancelled meanwhile.
        PreconditionError: the API does not hold this run, or it is not a run.
        Pause: Prefect's signal, which ends the process of a suspended run.
    """
    answered(Approval, f"{checkpoint}-{digest.encoded[:32]}", description, f"after {checkpoint}", checkpoint)


def answered(
    form: type[A], key: str, description: str, when: str, checkpoint: str, timeout_seconds: int = _TIMEOUT
) -> A:
    """Hold the present flow run until a person has filled a form in, and return it; an answer counts for its ``key``.

    Args:
        form: what the person fills in.
        key: what the answer is for; held again under the same key, the run has it at once.
        description: Markdown above the form.
        when: completes the sentence "refused by a person …".
        checkpoint: what the terminal's progress shows as the place where the run is held.
        timeout_seconds: after which a suspended run ends without an answer.

    Raises:
        CancelledError: the person refused, or the run was cancelled meanwhile.
        PreconditionError: the API does not hold this run, or it is not a run.
        Pause: Prefect's signal, which ends the process of a suspended run.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise PreconditionError("only a flow run can be held: call the flow itself, not its function")
    shown = form.with_initial_data(description=description)
    if context.flow_run.deployment_id is not None:
        answer = suspend_flow_run(wait_for_input=shown, key=key, timeout=timeout_seconds)
    else:
        note_hold(checkpoint)
        answer = _paused(context.flow_run.id, shown, key, description)
    if answer.decision == "refuse":
        reason = f": {printable(answer.reason, 1000)}" if answer.reason else ""
        raise CancelledError(f"refused by a person {when}{reason}")
    return answer


def _paused(run: UUID, form: type[A], key: str, description: str) -> A:
    """Wait for the answer in this process, wherever it comes from."""
    person = _person.get() or _Nobody()
    with get_client(sync_client=True) as client:
        keys = _pause(client, run, form, key)
        person.ask(description, url_for("flow-run", run))
        while True:
            answer = person.answer(_SECONDS)
            if answer is not None:
                client.resume_flow_run(run, run_input=answer.model_dump())
            state = client.read_flow_run(run).state
            if state is not None and state.is_running():
                return cast("A", form.load(keys, flow_run_id=run))  # a coroutine only in an event loop
            check()


def _pause(client: SyncPrefectClient, run: UUID, form: type[Approval], key: str) -> Keyset:
    """Pause a run, and give the names under which its form and the answer are kept."""
    state: State = Paused(pause_key=key)
    keys = keyset_from_paused_state(state)
    state.state_details.run_input_keyset = cast("dict[str, str]", keys)
    form.save(keys, flow_run_id=run)  # before a person can see that the run waits for it
    result = client.set_flow_run_state(run, state)
    if result.state is None or not result.state.is_paused():
        raise PreconditionError(f"the Prefect API does not pause this run: {result.details}")
    return keys
