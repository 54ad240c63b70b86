"""Flows of whose parameters some are not recorded as they are: see :mod:`flows.variables` for what is.

Prefect records parameters when a run is created, before it looks at their types, and writes those that do not fit to
its log with their values. So both are done here for the parameters concerned.
"""

from typing import Any, ParamSpec, TypeVar

from prefect import Flow
from prefect.exceptions import ParameterTypeError

from flows.tagging import TaggedFlow
from flows.variables import check_value, recorded

P = ParamSpec("P")
R = TypeVar("R")

HIDDEN = ("args", "env", "secrets", "credentials")


class _Discreet(TaggedFlow[P, R]):
    """A flow with some of the parameters ``args``, ``env``, ``secrets`` and ``credentials``."""

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return what is recorded."""
        shown = {name: recorded(name, value) if name in HIDDEN else value for name, value in parameters.items()}
        return super().serialize_parameters(shown)

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters as the function takes them; Prefect's own check sees nothing that may be a secret."""
        try:
            hidden = {name: check_value(name, value) for name, value in parameters.items() if name in HIDDEN}
        except TypeError as error:
            raise ParameterTypeError(f"Flow run received invalid parameters:\n - {error}") from None
        shown = {name: value for name, value in parameters.items() if name not in HIDDEN or name == "credentials"}
        return super().validate_parameters(shown) | hidden

    def with_options(self, **options: Any) -> "Flow[P, R]":
        """Return a copy with other options, as discreet."""
        return discreet(super().with_options(**options))


def discreet(flow: Flow[P, R]) -> Flow[P, R]:
    """Record only what every user may see of such parameters of a flow's runs, and tag these; above ``@flow``."""
    flow.__class__ = _Discreet  # `with_options` makes plain flows, so it has to be done to one that is there
    return flow
