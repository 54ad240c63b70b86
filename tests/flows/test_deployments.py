"""The deployments: what ``prestow deploy`` makes, real workers that run them, and what people may change meanwhile."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flows.deploying import deploy
from flows.forms.host_page import read_page
from flows.local_server.ensure import Server, environment
from prestow.errors import PreconditionError
from prestow.fleet.report import artifact_key
from prestow.store.node import open_node
from tasks.registry_credentials import RegistryCredentials
from tests.prefect_records import events, log_lines, task_runs
from tests.registries import DockerRegistry
from tests.wheels import ROOT, Installed
from tests.workers import Worker, without_prefect, worker

NAMES = (
    "bundle/bundle",
    "check-credentials/check-credentials",
    "fleet/fleet",
    "fsck/fsck",
    "prepull/prepull",
    "prune/prune",
    "pull/pull",
    "run/run",
)
LAYER_EVENTS = ["prestow.layer-fetched", "prestow.layer-stored", "prestow.layer-applied"] * 3


@pytest.fixture(scope="module")
def api(deploying: None, prefect_server: Server) -> dict[str, str]:
    """The variables that lead a process to the server of the tests."""
    return environment(prefect_server)


@pytest.fixture(scope="module")
def deployed(api: dict[str, str]) -> dict[str, Any]:
    """What the command said when it made the deployments of this checkout."""
    return command(api)


@pytest.fixture(scope="module")
def checkout_worker(
    api: dict[str, str], deployed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """A worker with the interpreter of the tests."""
    log = tmp_path_factory.mktemp("worker") / "log"
    with worker(sys.executable, {**without_prefect(), **api}, log) as running:
        yield running


@pytest.fixture
def undisturbed(deployed: dict[str, Any]) -> Iterator[None]:
    """Put back afterwards what a test changes as a person would."""
    yield
    with get_client(sync_client=True) as client:
        client.update_work_pool("prestow", WorkPoolUpdate(is_paused=False))
        for deployment in deployments().values():
            client.delete_deployment(deployment.id)
    deploy(ROOT)


def command(api: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "prestow", "deploy", "--json"],
        cwd=ROOT, env={**without_prefect(), **api}, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def deployments() -> dict[str, DeploymentResponse]:
    with get_client(sync_client=True) as client:
        return {name: client.read_deployment_by_name(name) for name in NAMES}


def records() -> dict[str, dict[str, Any]]:
    """Everything of the pool and the deployments but the time of their last update."""
    with get_client(sync_client=True) as client:
        pool = client.read_work_pool("prestow").model_dump(exclude={"updated", "status"})
    found = {
        name: each.model_dump(exclude={"updated", "status", "last_polled"}) for name, each in deployments().items()
    }
    for each in found.values():
        each["schedules"] = [{**schedule, "updated": None} for schedule in each["schedules"]]
    return {"pool": pool, **found}


def pulled(run: UUID) -> dict[str, str]:
    """The steps of a pull of the demo image, with their states."""
    return {task_run.name: task_run.state_name or "" for task_run in task_runs(run, 13)}


def steps(reference: str) -> set[str]:
    """The words with which the names of the steps of a pull begin."""
    return {
        f"resolve {reference}",
        "fetch manifest",
        "fetch",
        "verify",
        "apply",
        "commit snapshots",
        f"tag {reference}",
    }


def test_deploying_makes_a_pool_of_processes_and_all_deployments(deployed: dict[str, Any]) -> None:
    assert sorted(each["name"] for each in deployed["deployments"]) == list(NAMES)
    assert {each["pool"] for each in deployed["deployments"]} == {"prestow"}
    with get_client(sync_client=True) as client:
        assert client.read_work_pool("prestow").type == "process"
        assert len([each for each in client.read_deployments() if each.work_pool_name == "prestow"]) == len(NAMES)


@pytest.mark.usefixtures("deployed")
def test_deploying_registers_the_form_of_registry_credentials() -> None:
    with get_client(sync_client=True) as client:
        kind = client.read_block_type_by_slug("registry-credentials")
        schema = client.read_block_schema_by_checksum(RegistryCredentials._calculate_schema_checksum())

    assert (kind.name, schema.block_type_id) == ("Registry Credentials", kind.id)
    assert [field.get("default") for field in schema.fields["properties"].values()] == [""] * 4, "no field is null"
    assert sorted(schema.fields["secret_fields"]) == ["identity_token", "password"]
    assert set(schema.fields["properties"]) == {"username", "password", "identity_token", "registry"}


def test_schedules_are_there_and_wait_to_be_switched_on(deployed: dict[str, Any]) -> None:
    found = {
        name: [(each.slug, each.schedule.cron, each.schedule.timezone, each.active) for each in deployment.schedules]
        for name, deployment in deployments().items()
        if deployment.schedules
    }

    assert found == {
        "prepull/prepull": [("nightly", "30 3 * * *", "UTC", False)],
        "prune/prune": [("weekly", "30 4 * * 0", "UTC", False)],
        "fsck/fsck": [("weekly", "30 5 * * 6", "UTC", False)],
    }
    assert all(each["active"] == [] for each in deployed["deployments"])


@pytest.mark.long
def test_deploying_again_gives_the_same(api: dict[str, str], deployed: dict[str, Any]) -> None:
    before = records()

    again = command(api)

    assert records() == before
    assert [each["created"] for each in again["deployments"]] == [False] * len(NAMES)
    assert [each["name"] for each in again["deployments"]] == [each["name"] for each in deployed["deployments"]]


@pytest.mark.usefixtures("undisturbed")
def test_what_a_person_set_is_still_so_after_the_next_deploy() -> None:
    prepull = deployments()["prepull/prepull"]
    with get_client(sync_client=True) as client:
        client.update_deployment_schedule(
            prepull.id, prepull.schedules[0].id, active=True, schedule=CronSchedule(cron="0 1 * * *", timezone="UTC")
        )
        mine = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 2 * * *"), active=True)
        client.create_deployment_schedules(prepull.id, [mine])
        client.update_deployment(
            prepull.id,
            DeploymentUpdate(
                parameters={"images": ["registry.example/team/app:1"]},
                tags=["mine"],
                paused=True,
                concurrency_limit=1,
                job_variables={"env": {"PRESTOW_HOME": "/srv/prestow"}, "command": "nice prefect-engine"},
            ),
        )
        client.update_work_pool("prestow", WorkPoolUpdate(is_paused=True, description="ours"))
    before = records()

    said = {each.name: each for each in deploy(ROOT)}

    assert records() == before
    assert set(said["prepull/prepull"].active) == {
        "nightly", *(str(s.id) for s in deployments()["prepull/prepull"].schedules if s.slug is None)
    }  # fmt: skip


@pytest.mark.usefixtures("undisturbed")
def test_the_deployment_of_an_older_name_is_replaced_and_keeps_what_a_person_set() -> None:
    with get_client(sync_client=True) as client:
        client.delete_deployment(deployments()["fsck/fsck"].id)
        old = client.create_deployment(
            client.create_flow_from_name("verify"),
            name="verify",
            work_pool_name="prestow",
            entrypoint="flows/verify.py:verify",
            parameters={"repair": True},
            tags=["mine"],
            concurrency_limit=2,
            schedules=[DeploymentScheduleCreate(schedule=CronSchedule(cron="0 2 * * *"), active=True, slug="weekly")],
            job_variables={"env": {"PRESTOW_HOME": "/srv/prestow"}, "command": "/old/python -P -m prestow engine"},
        )

    said = {each.name: each for each in deploy(ROOT)}
    again = {each.name: each for each in deploy(ROOT)}

    found = deployments()["fsck/fsck"]
    assert (said["fsck/fsck"].created, said["fsck/fsck"].active, again) == (False, ("weekly",), said)
    assert [(each.schedule.cron, each.active) for each in found.schedules] == [("0 2 * * *", True)]
    assert (found.parameters, found.tags, found.entrypoint) == ({"repair": True}, ["mine"], "flows/fsck.py:fsck")
    assert found.global_concurrency_limit is not None
    assert found.global_concurrency_limit.limit == 2
    assert found.job_variables["env"] == {"PRESTOW_HOME": "/srv/prestow"}
    assert found.job_variables["command"].startswith(sys.executable)
    with get_client(sync_client=True) as client, pytest.raises(ObjectNotFound):
        client.read_deployment(old)


@pytest.mark.usefixtures("undisturbed")
def test_what_belongs_to_the_code_is_brought_up_to_date() -> None:
    before = records()
    pull, prune = deployments()["pull/pull"], deployments()["prune/prune"]
    with get_client(sync_client=True) as client:
        old = {"type": "object", "properties": {"gone": {"type": "string"}}}
        client.update_deployment(
            pull.id,
            DeploymentUpdate(
                entrypoint="old.py:pull",
                description="old",
                pull_steps=[],
                parameter_openapi_schema=old,
                version="old",
                job_variables={"command": "/old/bin/python -P -m prestow engine"},
            ),
        )
        client.update_deployment(pull.id, DeploymentUpdate(work_pool_name=None))  # as when its pool is deleted
        client.delete_deployment_schedule(prune.id, prune.schedules[0].id)  # as when a newer file has one more

    deploy(ROOT)

    after = records()
    assert [s["slug"] for s in after["prune/prune"].pop("schedules")] == ["weekly"]
    del before["prune/prune"]["schedules"]
    assert after == before


@pytest.mark.usefixtures("deployed")
def test_the_forms_tell_what_each_field_is() -> None:
    fields = {
        f"{name}.{parameter}": (parameter, field)
        for name, deployment in deployments().items()
        for parameter, field in (deployment.parameter_openapi_schema or {})["properties"].items()
    }

    unclear = [
        where
        for where, (parameter, field) in fields.items()
        if field["title"] == parameter or not field["title"][0].isupper() or not field.get("description")
    ]

    assert unclear == []
    _, reference = fields["pull/pull.reference"]
    assert (reference["title"], reference["type"], reference["maxLength"]) == ("Image", "string", 4096)
    assert fields["pull/pull.driver"][1]["enum"] == ["auto", "erofs", "overlay", "native"]
    assert fields["run/run.pull"][1]["enum"] == ["missing", "always", "never"]
    assert fields["prepull/prepull.images"][1]["items"]["title"] == "Image"


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    "parameters", [{"images": []}, {"images": ["a"], "parallel": 99}, {"images": ["a"], "driver": "magic"}]
)
def test_a_run_with_a_parameter_that_cannot_be_is_refused_before_it_is_made(parameters: dict[str, Any]) -> None:
    prepull = deployments()["prepull/prepull"]

    with get_client(sync_client=True) as client, pytest.raises(PrefectHTTPStatusError, match="409"):
        client.create_flow_run_from_deployment(prepull.id, parameters=parameters)


@pytest.mark.usefixtures("undisturbed")
def test_stored_parameters_that_a_newer_form_does_not_take_are_named() -> None:
    prepull = deployments()["prepull/prepull"]
    with get_client(sync_client=True) as client:
        client.delete_deployment(prepull.id)
        client.create_deployment(
            prepull.flow_id, name="prepull", parameters={"images": "one"}, enforce_parameter_schema=True
        )

    with pytest.raises(PreconditionError, match=r"prepull.*images.*delete the deployment"):
        deploy(ROOT)


@pytest.mark.long
def test_a_worker_pulls_and_pulling_again_is_cached(
    checkout_worker: Worker, home: str, docker_registry: DockerRegistry, demo_layout: Path
) -> None:
    reference = docker_registry.push(demo_layout, "demo", "deployments/pull:1")

    first = checkout_worker.run("pull/pull", reference=reference, home=home)

    found = pulled(first)
    assert {name.partition(" sha256:")[0] for name in found} == steps(reference)
    assert set(found.values()) == {"Completed"}
    names = [event.event for event in events(first, 13)]
    assert names[:2] + names[-2:] == [
        "prestow.resolved", "prestow.manifest-stored", "prestow.unpacked", "prestow.tagged"
    ]  # fmt: skip
    assert sorted(names[2:-2]) == sorted(LAYER_EVENTS)

    again = pulled(checkout_worker.run("pull/pull", reference=reference, home=home))

    assert again.pop(f"resolve {reference}") == "Completed"
    assert set(again) == set(found) - {f"resolve {reference}"}
    assert set(again.values()) == {"Cached"}


@pytest.mark.long
def test_what_a_container_writes_is_in_the_log_of_its_run(
    checkout_worker: Worker, home: str, docker_registry: DockerRegistry, demo_layout: Path
) -> None:
    reference = docker_registry.push(demo_layout, "demo", "deployments/run:1")

    run = checkout_worker.run("run/run", reference=reference, rm=True, home=home)

    assert log_lines(run, "Hello") == ["Hello from a prestowed image."]
    assert [event.event for event in events(run, 18)][-2:] == ["prestow.running", "prestow.exited"]


@pytest.mark.long
def test_a_prepull_leaves_the_page_of_its_host(
    checkout_worker: Worker, home: str, docker_registry: DockerRegistry, demo_layout: Path
) -> None:
    reference = docker_registry.push(demo_layout, "demo", "deployments/prepull:1")

    run = checkout_worker.run("prepull/prepull", images=[reference], home=home)

    with get_client(sync_client=True) as client:
        (page,) = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])))
    report = read_page(str(page.data))
    assert (page.type, page.key) == ("markdown", artifact_key(open_node(home).host))
    assert [(image.name, image.complete) for image in report.images] == [(reference, True)]


@pytest.mark.long
def test_a_worker_s_runs_have_names_tags_and_a_story(
    checkout_worker: Worker, home: str, docker_registry: DockerRegistry, demo_layout: Path
) -> None:
    reference = docker_registry.push(demo_layout, "demo", "deployments/story:1")
    runs = {
        f"pull {reference}": checkout_worker.run("pull/pull", reference=reference, home=home),
        "prune {}": checkout_worker.run("prune/prune", home=home),
        "prepull {} · 1 image": checkout_worker.run("prepull/prepull", images=[reference], home=home),
        "fsck {} · all images": checkout_worker.run("fsck/fsck", home=home),
    }

    host = open_node(home).host
    with get_client(sync_client=True) as client:
        found = {name: client.read_flow_run(run) for name, run in runs.items()}
    assert [run.name for run in found.values()] == [name.format(host) for name in runs]
    assert all({"prestow", host} <= set(run.tags) for run in found.values())
    assert reference in found[f"pull {reference}"].tags
    assert all(set(found[name].tags) <= set(step.tags) for name, run in runs.items() for step in task_runs(run, 1))
    assert all(len(log_lines(run, "done: ")) == 1 for run in runs.values())
    assert len(log_lines(runs[f"pull {reference}"], "to fetch")) == 1


@pytest.mark.long
def test_a_worker_runs_what_the_wheel_carries(
    installed: Installed,
    api: dict[str, str],
    home: str,
    tmp_path: Path,
    docker_registry: DockerRegistry,
    demo_layout: Path,
) -> None:
    reference = docker_registry.push(demo_layout, "demo", "deployments/wheel:1")
    said = json.loads(installed.run("deploy", "--json", home=tmp_path / "unused", api=api))
    assert said["project"] == str(installed.project)
    try:
        with worker(installed.python, {**installed.environment, **api}, tmp_path / "log") as running:
            run = running.run("pull/pull", reference=reference, home=home)
    finally:
        deploy(ROOT)

    found = pulled(run)
    assert {name.partition(" sha256:")[0] for name in found} == steps(reference)
    assert set(found.values()) == {"Completed"}
    assert {"prestow.resolved", "prestow.tagged", *LAYER_EVENTS} < {event.event for event in events(run, 13)}
