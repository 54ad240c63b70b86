"""The deployments at the Prefect API, as ``deployments/prefect.yaml`` describes them: made once, then kept in step.

The type of blocks with credentials is registered beside them, so that the UI has a form for it.

Of a deployment that is there only what belongs to the code is changed: where it is, what it is for, which parameters
it takes. Schedules, default parameters, limits, tags, the pool and its job template belong to the people who may have
changed them since. Prefect's own ``prefect deploy`` sets all of that back to what the file says, so a schedule that
a person switched on would be off again.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.workers.process import ProcessWorker

from flows.dead_runs import crash_dead_runs
from flows.forms.form import form
from prestow.errors import PreconditionError, printable
from prestow.project import module
from tasks.registry_credentials import register

Entry: TypeAlias = Mapping[str, Any]

_PROJECT = "{{ $PRESTOW_PROJECT }}"
_ENGINE = "-m prestow engine"
_FORMER = {"fsck/fsck": "verify/verify"}  # what a deployment was called in older installations


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployment at the API.

    Attributes:
        name: as Prefect writes it, ``flow/deployment``.
        pool: the work pool whose workers take its runs.
        created: whether it was not there before.
        active: its schedules that are switched on, by their slugs.
    """

    name: str
    pool: str
    created: bool
    active: tuple[str, ...]


def deploy(project: Path, more: Sequence[Entry] = ()) -> tuple[Deployed, ...]:
    """Make the work pools and the deployments, or bring them up to date, in the order of the file.

    Args:
        project: the folder that holds ``flows/`` and ``deployments/``; workers run the flows from there.
        more: further entries as the file has them; the times of their schedules follow them at each deploy.

    Raises:
        PreconditionError: what people have set is not allowed by the code as it is now.
    """
    document = yaml.safe_load((project / "deployments" / "prefect.yaml").read_text("utf-8"))
    entries = [*document["deployments"], *more]
    steps = _filled(document["pull"], project)
    register()
    with get_client(sync_client=True) as client:
        for pool in {entry["work_pool"]["name"] for entry in entries}:
            _make_pool(client, pool)
        deployed = tuple(_deploy(client, entry, steps) for entry in entries)
        for entry in more:
            _follow(client, entry)
        crash_dead_runs(client, (client.read_flow_by_name(each.name.partition("/")[0]).id for each in deployed))
    return deployed


def _make_pool(client: SyncPrefectClient, name: str) -> None:
    """Make a work pool whose workers start a process for each run; one that is there stays as it is."""
    template = ProcessWorker.get_default_base_job_template()
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template))


def _deploy(client: SyncPrefectClient, entry: Entry, steps: Sequence[Any]) -> Deployed:
    """Make one deployment, or bring it up to date."""
    flow = _flow(entry["entrypoint"])
    name = f"{flow.name}/{entry['name']}"
    code = {
        "entrypoint": entry["entrypoint"],
        "description": entry["description"],
        "version": flow.version,
        "pull_steps": steps,
        "parameter_openapi_schema": form(flow),
    }
    found, former = _found(client, name), _found(client, _FORMER[name]) if name in _FORMER else None
    created = found is None and former is None
    if created:
        _create(client, flow, entry, code)
    elif found is None and former is not None:
        _copy(client, flow, former, code)
    if not created:
        _update(client, client.read_deployment_by_name(name), entry, code)
    if former is not None:
        client.delete_deployment(former.id)
    now = client.read_deployment_by_name(name)
    active = tuple(str(schedule.slug or schedule.id) for schedule in now.schedules if schedule.active)
    return Deployed(name, str(now.work_pool_name), created, active)


def _found(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _create(client: SyncPrefectClient, flow: Flow[..., Any], entry: Entry, code: dict[str, Any]) -> None:
    """Make a deployment, with everything that the file says of it."""
    limit = entry.get("concurrency_limit", {})
    client.create_deployment(
        client.create_flow(flow),
        name=entry["name"],
        work_pool_name=entry["work_pool"]["name"],
        work_queue_name=entry["work_pool"].get("work_queue_name"),
        parameters=entry.get("parameters", {}),
        schedules=_schedules(entry),
        tags=entry.get("tags"),
        concurrency_limit=limit.get("limit"),
        concurrency_options=ConcurrencyOptions(collision_strategy=limit["collision_strategy"]) if limit else None,
        enforce_parameter_schema=True,
        job_variables={"command": _command()},
        **code,
    )


def _copy(client: SyncPrefectClient, flow: Flow[..., Any], former: DeploymentResponse, code: dict[str, Any]) -> None:
    """Make a deployment with everything that people have set of the one that it replaces."""
    schedules = [
        DeploymentScheduleCreate.model_validate(schedule.model_dump(include={*DeploymentScheduleCreate.model_fields}))
        for schedule in former.schedules
    ]
    client.create_deployment(
        client.create_flow(flow),
        name=flow.name,
        work_pool_name=former.work_pool_name,
        work_queue_name=former.work_queue_name,
        parameters=former.parameters,
        tags=former.tags,
        paused=former.paused,
        concurrency_limit=former.global_concurrency_limit.limit if former.global_concurrency_limit else None,
        concurrency_options=former.concurrency_options,
        schedules=schedules,
        enforce_parameter_schema=former.enforce_parameter_schema,
        job_variables=former.job_variables,
        **code,
    )


def _update(client: SyncPrefectClient, found: DeploymentResponse, entry: Entry, code: dict[str, Any]) -> None:
    """Bring a deployment up to date; add the schedules of a newer file, and the pool if it was deleted."""
    if found.work_pool_name is None:
        code["work_pool_name"] = entry["work_pool"]["name"]
    if str(found.job_variables.get("command") or _ENGINE).endswith(_ENGINE):  # else it is a person's own
        code["job_variables"] = {**found.job_variables, "command": _command()}
    try:
        client.update_deployment(found.id, DeploymentUpdate(**code))
    except PrefectHTTPStatusError as error:
        if error.response.status_code != HTTPStatus.CONFLICT:
            raise
        why = printable(error.response.text, 1000)
        advice = "change it in the UI, or delete the deployment and deploy again"
        raise PreconditionError(
            f"deployment {found.name}: what is set there is not allowed: {why}; {advice}"
        ) from error
    known = {schedule.slug for schedule in found.schedules}
    if missing := [schedule for schedule in _schedules(entry) if schedule.slug not in known]:
        client.create_deployment_schedules(found.id, missing)


def _follow(client: SyncPrefectClient, entry: Entry) -> None:
    """Bring parameters and times of schedules to what the entry says; not whether they are on."""
    found = client.read_deployment_by_name(f"{_flow(entry['entrypoint']).name}/{entry['name']}")
    if found.parameters != entry["parameters"]:
        client.update_deployment(found.id, DeploymentUpdate(parameters=entry["parameters"]))
    wanted = {schedule.slug: schedule.schedule for schedule in _schedules(entry)}
    for schedule in found.schedules:
        if schedule.slug in wanted and schedule.schedule != wanted[schedule.slug]:
            client.update_deployment_schedule(found.id, schedule.id, schedule=wanted[schedule.slug])


def _command() -> str:
    """Return what a worker starts for a run: this installation, whose warm process forks a child for it."""
    return f"{shlex.join([sys.executable, '-P'])} {_ENGINE}"


def _schedules(entry: Entry) -> list[DeploymentScheduleCreate]:
    return [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]),
            slug=schedule["slug"],
            active=schedule["active"],
        )
        for schedule in entry.get("schedules", ())
    ]


def _flow(entrypoint: str) -> Flow[..., Any]:
    """Import the flow of ``flows/pull.py:pull`` as the rest of the program does, ``flows.pull``."""
    file, _, function = entrypoint.partition(":")
    flow: Flow[..., Any] = getattr(import_module(module(file.removesuffix(".py").replace("/", "."))), function)
    return flow


def _filled(value: Any, project: Path) -> Any:
    """Put the project's folder in for the variable that names it in the file."""
    if isinstance(value, str):
        return value.replace(_PROJECT, str(project))
    if isinstance(value, list):
        return [_filled(each, project) for each in value]
    return {key: _filled(each, project) for key, each in value.items()} if isinstance(value, dict) else value
