"""The tags by which flow runs are found in the UI: ``prestow``, the host, and the image of a run that has one.

A run of a terminal or a program is created with them. One that a worker executes was created by a person, a schedule or
a rollout, and gets them when it begins. Steps begin without them, since Prefect asks the API for the limits of each tag
at each step, and get them while they run (``tasks/policy``).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from prefect import Flow, get_client, tags
from prefect.client.schemas.objects import FlowRun
from prefect.context import TagsContext

from flows.naming import host
from prestow.errors import PrestowError, printable
from prestow.reference import LayoutReference, image_name, parse_source

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST = 200  # characters of an image's name


def run_tags(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tags of a run with these parameters; an image that has no valid name, or none yet, is left out."""
    image, name = parameters.get("reference") or parameters.get("image"), parameters.get("name")
    if isinstance(image, str):
        with suppress(PrestowError):
            if name is not None or not _is_named_by_archive(image):
                return "prestow", host(), printable(image_name(image, name), _LONGEST)
    return "prestow", host()


def _is_named_by_archive(image: str) -> bool:
    """Whether the image gets the name that it has in its archive, which is opened later."""
    source = parse_source(image)
    return isinstance(source, LayoutReference) and source.transport != "oci" and source.name is None


class TaggedFlow(Flow[P, R]):
    """A flow whose runs are created with their tags."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the flow; the arguments are those of Prefect's."""
        with tags(*run_tags(self._given(args, kwargs))):
            return super().__call__(*args, **kwargs)

    def with_options(self, **options: Any) -> "Flow[P, R]":
        """Return a copy with other options, as tagged."""
        return tagged(super().with_options(**options))

    def _given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments by their names; none if they do not fit, which Prefect's own check says better."""
        parameters = signature(self.fn)
        ours = {name: value for name, value in kwargs.items() if name in parameters.parameters}
        try:
            return parameters.bind_partial(*args, **ours).arguments
        except TypeError:
            return {}


def tagged(flow: Flow[P, R]) -> Flow[P, R]:
    """Let the runs of a flow carry tags; above ``@flow``."""
    flow.__class__ = TaggedFlow  # `with_options` makes plain flows, so it has to be done to one that is there
    return flow


@contextmanager
def steps_untagged(run: FlowRun, parameters: Mapping[str, Any]) -> Iterator[None]:
    """Tag a run that was created elsewhere; in this block, steps begin with none of these tags."""
    ours = run_tags(parameters)
    if not set(ours) <= set(run.tags):
        every = sorted({*run.tags, *ours})
        with suppress(Exception), get_client(sync_client=True) as client:  # the run can do without
            client.update_flow_run(run.id, tags=every)
            run.tags = every
    with TagsContext(current_tags=TagsContext.get().current_tags - set(ours)):
        yield
