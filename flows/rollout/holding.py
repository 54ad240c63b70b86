"""A rollback that holds, kept at the Prefect API: the variable ``prestow_hold_<set>``, so everyone there sees it."""

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from prestow.errors import InvalidError
from prestow.fleet.hold import Hold


def read_hold(client: SyncPrefectClient, image_set: str) -> Hold | None:
    """Return the hold on a set; None if the lock decides.

    Raises:
        InvalidError: the variable is there, and no hold.
    """
    variable = client.read_variable_by_name(_name(image_set))
    if variable is None:
        return None
    try:
        return Hold.model_validate(variable.value)
    except ValidationError as error:
        raise InvalidError(
            f"variable {_name(image_set)} is no hold: remove it with `prestow fleet release {image_set}`, "
            "then roll back again"
        ) from error


def hold(client: SyncPrefectClient, image_set: str, wanted: Hold) -> None:
    """Let a generation be applied until it is released."""
    value = wanted.model_dump(mode="json")
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
