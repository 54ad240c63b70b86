"""The report of a host at the Prefect API: an event each time, and an artifact that changes when its content does.

    event     prestow.host.report   resource prestow.host.<name>   related prestow.set.<set>   payload: the report
    artifact  prestow-host-<key>    a page that ends with the report
    artifact  prestow-in-use-<key>  at the end of a run: what the container runtime says of images that it was given

Events go after a week; the artifact stays. A run makes a new version of it, which its own page shows; between runs
the latest version is changed.
"""

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import ArtifactCollection
from prefect.context import FlowRunContext, SyncClientContext
from prefect.events import emit_event
from prefect.exceptions import EventTooLarge
from prefect.logging import get_run_logger

from flows.forms.host_page import host_page, read_page
from flows.forms.in_use_table import publish_table
from flows.rollout.stock import take_stock
from prestow.errors import PrestowError, printable
from prestow.fleet.report import EVENT, Report, artifact_key
from prestow.store.node import Node

_AWAY = 0.05  # part of the disk by which the free space moves without being news


def publish(node: Node) -> Report:
    """Report this host: the event, and the artifact if it says something new.

    Raises:
        StorageError: the disk or the database failed.
        httpx.HTTPError: the API does not answer, or refuses.
    """
    report = take_stock(node)
    _emit(report)
    _keep(report)
    return report


def report_from_run(node: Node) -> None:
    """Report this host, and what its runtime uses, at the end of a run; that failing does not make the run fail."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return  # called as a function
    try:
        publish(node)
        publish_table(node)
    except Exception as error:  # noqa: BLE001 - the work is done, and the next report comes
        get_run_logger().warning("this host could not be reported: %s", printable(str(error)))


def last_report(host: str) -> Report | None:
    """Return the report in the artifact of a host; None if there is none that can be read.

    Raises:
        httpx.HTTPError: the API does not answer, or refuses.
    """
    return _report(_latest(host))


def _emit(report: Report) -> None:
    related = [
        {"prefect.resource.id": f"prestow.set.{name}", "prefect.resource.role": "set"} for name in report.generations
    ]
    try:
        emit_event(
            event=EVENT,
            resource={"prefect.resource.id": f"prestow.host.{report.host}", "prefect.resource.name": report.host},
            related=related,
            payload=report.model_dump(mode="json"),
        )
    except EventTooLarge:  # the artifact has it
        return


def _keep(report: Report) -> None:
    """Make or change the artifact, if its content is not what it was."""
    latest = _latest(report.host)
    before = _report(latest)
    if before is not None and is_same(before, report):
        return
    context, text = FlowRunContext.get(), host_page(report)
    run = None if context is None or context.flow_run is None else context.flow_run.id
    with SyncClientContext.get_or_create() as api:
        if latest is not None and run is None:
            api.client.update_artifact(latest.latest_id, ArtifactUpdate(data=text))
            return
        key, about = artifact_key(report.host), f"Host {report.host}"
        api.client.create_artifact(
            ArtifactCreate(type="markdown", key=key, description=about, data=text, flow_run_id=run)
        )


def is_same(before: Report, now: Report) -> bool:
    """Whether two reports say the same; the free space may move by a twentieth of the disk."""
    moved = abs(before.free_bytes - now.free_bytes)
    return moved <= _AWAY * now.disk_bytes and before == now.model_copy(
        update={"at": before.at, "free_bytes": before.free_bytes}
    )


def _latest(host: str) -> ArtifactCollection | None:
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[artifact_key(host)]))
    with SyncClientContext.get_or_create() as api:
        return next(iter(api.client.read_latest_artifacts(artifact_filter=wanted, limit=1)), None)


def _report(found: ArtifactCollection | None) -> Report | None:
    try:
        return None if found is None else read_page(str(found.data))
    except PrestowError:
        return None
