"""The schedules of a fleet file: one deployment of the flow ``fleet`` for each image set that has one.

Each set has a deployment of its own, ``fleet/<set>``, since its limit is one run at a time: two sets that are due at
the same time do not stop each other, and each can be paused by itself. The file decides when; whether a schedule is
switched on belongs to the people who may have changed that in the UI.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse

from flows.rollout.identity import FLOW
from flows.rollout.workers import COORDINATOR, POOL
from prestow.errors import InvalidError
from prestow.fleet.document import read
from prestow.fleet.file import FleetFile, Schedule

TAG = "prestow.fleet"
"""Tag of the deployments that come from a fleet file."""


def entries(file: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the deployments of a fleet file, as ``deployments/prefect.yaml`` would have them.

    Raises:
        NotFoundError: there is no such file.
        InvalidError: it breaks a rule, or a set has the name of the deployment for all sets.
    """
    for name, image_set in read(file, FleetFile).sets.items():
        if name == FLOW:
            raise InvalidError(f"{file}: an image set that is called {FLOW} can have no schedule: rename it")
        if image_set.schedule is not None:
            yield _entry(file, name, image_set.schedule)


def _entry(file: Path, name: str, schedule: Schedule) -> Mapping[str, Any]:
    slug = {"cron": schedule.cron, "timezone": schedule.zone, "slug": name, "active": schedule.active}
    return {
        "name": name,
        "entrypoint": "flows/fleet.py:fleet",
        "description": f"Bring the image set {name} onto its hosts, as {file} says.",
        "parameters": {"image_set": name, "file": str(file)},
        "tags": [TAG],
        "schedules": [slug],
        "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
        "work_pool": {"name": POOL, "work_queue_name": COORDINATOR},
    }


def gone(client: SyncPrefectClient, file: Path, names: set[str]) -> list[DeploymentResponse]:
    """Return the deployments that came from a file which has no schedule of that name any more."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found = client.read_deployments(deployment_filter=tagged, limit=200)
    return [each for each in found if each.parameters.get("file") == str(file) and each.name not in names]
