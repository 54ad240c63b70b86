"""The form of a deployment in Prefect's UI: the schema of its flow's parameters, as that form shows it best.

    Prefect's schema of an optional text          here
    anyOf: [{type: string}, {type: null}]         type: string
    default: null                                 (none)

For a default of null the form shows ``Property is type "None"`` until a person finds the button beside it. Without one
it shows an empty field, and leaves the parameter out if it stays empty. The API takes null there all the same.
"""

from typing import Any

from prefect import Flow
from prefect.utilities.callables import parameter_schema

_OF_MACHINES = ("order",)
"""Parameters that only a rollout sets: no form could be filled in for them."""


def form(flow: Flow[..., Any]) -> dict[str, Any]:
    """Return the schema of the parameters of a flow."""
    schema = parameter_schema(flow).model_dump()
    fields = schema["properties"].items()
    return {**schema, "properties": {name: _field(field) for name, field in fields if name not in _OF_MACHINES}}


def _field(field: dict[str, Any]) -> dict[str, Any]:
    """Return a field; a choice that may be left out allows null, which the form does not offer."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1 or field.get("default") is not None:
        return field
    shown: dict[str, Any] = {name: value for name, value in field.items() if name not in ("anyOf", "default")}
    shown |= kinds[0]
    return shown | {"enum": [*shown["enum"], None]} if "enum" in shown else shown
