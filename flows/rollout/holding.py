"""A rollback that holds: which generation of a set is applied until ``prestow fleet release``, whatever the lock says.

It is a variable at the Prefect API, ``prestow_hold_<set>``, so every coordinator and every terminal sees it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectNotFound

from prestow.errors import InvalidError

_REASON = 500


@dataclass(frozen=True, slots=True)
class Hold:
    """A generation that holds.

    Attributes:
        since: when the rollback was asked for.
        reason: why, in a person's words; may be empty.
    """

    generation: int
    since: datetime
    reason: str


def read_hold(client: SyncPrefectClient, image_set: str) -> Hold | None:
    """Return the hold on a set; None if the lock decides.

    Raises:
        InvalidError: the variable is there, and no hold.
    """
    variable = client.read_variable_by_name(_name(image_set))
    if variable is None:
        return None
    value: Any = variable.value
    try:
        return Hold(int(value["generation"]), datetime.fromisoformat(value["since"]), str(value["reason"])[:_REASON])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError(
            f"variable {_name(image_set)} is no hold: remove it with `prestow fleet release {image_set}`, "
            "then roll back again"
        ) from error


def hold(client: SyncPrefectClient, image_set: str, wanted: Hold) -> None:
    """Let a generation be applied until it is released."""
    value: Any = {
        "generation": wanted.generation,
        "since": wanted.since.isoformat(),
        "reason": wanted.reason[:_REASON],
    }
    name = _name(image_set)
    if client.read_variable_by_name(name) is None:
        client.create_variable(VariableCreate(name=name, value=value, tags=["prestow"]))
    else:
        client.update_variable(VariableUpdate(name=name, value=value))


def release(client: SyncPrefectClient, image_set: str) -> bool:
    """Let the lock decide again; return whether there was a hold."""
    try:
        client.delete_variable_by_name(_name(image_set))
    except ObjectNotFound:
        return False
    return True


def _name(image_set: str) -> str:
    return f"prestow_hold_{image_set.replace('-', '_')}"
