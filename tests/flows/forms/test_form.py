"""The forms of the deployments: what Prefect's UI is given, and what its API takes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import Scheduled

from flows.deploying import deploy
from tests.wheels import ROOT

FAR = datetime.now(UTC) + timedelta(days=300)
"""When no worker looks for runs yet."""


@pytest.fixture(scope="module")
def deployments(deploying: None) -> dict[str, DeploymentResponse]:
    """The deployments of this checkout."""
    names = [each.name for each in deploy(ROOT)]
    with get_client(sync_client=True) as client:
        return {name: client.read_deployment_by_name(name) for name in names}


@pytest.fixture
def forms(deployments: dict[str, DeploymentResponse]) -> dict[str, dict[str, Any]]:
    """The fields of each form."""
    return {name: (each.parameter_openapi_schema or {})["properties"] for name, each in deployments.items()}


def test_a_field_that_may_stay_empty_is_an_empty_field(forms: dict[str, dict[str, Any]]) -> None:
    fields = {f"{name}.{field}": kind for name, form in forms.items() for field, kind in form.items()}

    assert [name for name, kind in fields.items() if "anyOf" in kind or kind.get("default", "") is None] == []


def test_a_choice_is_a_drop_down_with_what_each_means(forms: dict[str, dict[str, Any]]) -> None:
    form = forms["pull/pull"]

    assert {"resolved", "tagged", None} < set(form["hold_after"]["enum"])
    for field in ("stop_after", "driver"):
        choices = [choice for choice in form[field]["enum"] if choice is not None]
        assert [choice for choice in choices if f"\n\n- `{choice}`: " not in form[field]["description"]] == []


def test_what_operators_hardly_touch_comes_last_and_what_only_a_rollout_sets_not_at_all(
    forms: dict[str, dict[str, Any]],
) -> None:
    for name, form in forms.items():
        order = sorted(form, key=lambda field: form[field]["position"])
        last = [field for field in ("home", "namespace") if field in form]
        assert order[-len(last) :] == last, name
        assert "order" not in form


@pytest.mark.parametrize(
    ("deployment", "parameters"),
    [
        ("pull/pull", {"reference": "a.example/b:1", "platform": None, "stop_after": None, "credentials": None}),
        ("prepull/prepull", {"images": ["a.example/b:1"], "parallel": None, "order": {"host": "gpu-01"}}),
    ],
)
def test_the_api_takes_null_for_an_empty_field_and_the_order_of_a_rollout(
    deployments: dict[str, DeploymentResponse], deployment: str, parameters: dict[str, Any]
) -> None:
    with get_client(sync_client=True) as client:
        later = Scheduled(scheduled_time=FAR)
        run = client.create_flow_run_from_deployment(deployments[deployment].id, parameters=parameters, state=later)
        found = client.read_flow_run(run.id)
        client.delete_flow_run(run.id)

    assert found.parameters.items() >= parameters.items()
