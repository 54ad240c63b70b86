"""The deployments of a fleet file at a real server: made, brought up to date, removed, by `prestow deploy --fleet`."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse

from flows.cli.main import main
from flows.rollout.schedules import TAG
from flows.rollout.workers import COORDINATOR


@pytest.fixture
def names(deploying: None) -> Iterator[list[str]]:
    """Names of two sets of the test's own, whose deployments go afterwards: other tests count those that are there."""
    yield [f"s{uuid4().hex[:8]}" for _ in range(2)]
    with get_client(sync_client=True) as client:
        tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
        for each in client.read_deployments(deployment_filter=tagged):
            client.delete_deployment(each.id)


def write(path: Path, schedules: dict[str, dict[str, object]]) -> Path:
    """Write a fleet file with sets that have these schedules."""
    sets = {name: {"images": ["app:1"], "schedule": schedule} for name, schedule in schedules.items()}
    path.write_text(yaml.safe_dump({"hosts": [{"name": "h0"}], "sets": sets}))
    return path


def deployment(name: str) -> DeploymentResponse:
    """Return the deployment of a set."""
    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(f"fleet/{name}")


def test_each_set_with_a_schedule_has_a_deployment_that_makes_one_run_at_a_time(
    tmp_path: Path, names: list[str]
) -> None:
    nightly = {"cron": "30 2 * * *", "zone": "Europe/Berlin"}
    file = write(tmp_path / "fleet.yaml", {names[0]: nightly, names[1]: {"cron": "0 * * * *", "active": False}})

    assert main(["deploy", "--fleet", str(file)], here=True) == 0

    first, second = (deployment(name) for name in names)
    assert first.parameters == {"image_set": names[0], "file": str(file)}
    assert (first.work_pool_name, first.work_queue_name) == ("prestow", COORDINATOR)
    assert first.global_concurrency_limit is not None
    assert first.global_concurrency_limit.limit == 1
    assert first.concurrency_options is not None
    assert first.concurrency_options.collision_strategy == ConcurrencyLimitStrategy.CANCEL_NEW
    schedules = [(each.schedule.cron, each.schedule.timezone, each.active) for each in first.schedules]
    assert schedules == [("30 2 * * *", "Europe/Berlin", True)]
    assert [each.active for each in second.schedules] == [False]


def test_times_follow_the_file_and_whether_they_are_on_follows_people(tmp_path: Path, names: list[str]) -> None:
    file = write(tmp_path / "fleet.yaml", {key: {"cron": "30 2 * * *"} for key in names})
    main(["deploy", "--fleet", str(file)], here=True)
    first = deployment(names[0])
    with get_client(sync_client=True) as client:
        client.update_deployment_schedule(first.id, first.schedules[0].id, active=False)
    write(file, {key: {"cron": "45 3 * * *", "zone": "Asia/Tokyo"} for key in names})

    assert main(["deploy", "--fleet", str(file)], here=True) == 0

    found = [
        (each.schedule.cron, each.schedule.timezone, each.active)
        for name in names
        for each in deployment(name).schedules
    ]
    assert found == [("45 3 * * *", "Asia/Tokyo", False), ("45 3 * * *", "Asia/Tokyo", True)]


def test_a_set_that_leaves_the_file_takes_its_deployment_along(
    tmp_path: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    schedule: dict[str, object] = {"cron": "30 2 * * *"}
    file = write(tmp_path / "fleet.yaml", dict.fromkeys(names, schedule))
    other = write(tmp_path / "other.yaml", {f"{names[0]}o": schedule})
    for each in (file, other):
        main(["deploy", "--fleet", str(each)], here=True)
    write(file, {names[0]: schedule})
    capsys.readouterr()

    assert main(["deploy", "--fleet", str(file)], here=True) == 0

    assert f"deployment fleet/{names[1]} was removed" in capsys.readouterr().err
    assert main(["deploy", "--fleet", str(file)], here=True) == 0
    assert deployment(f"{names[0]}o").name == f"{names[0]}o"
    assert f"fleet/{names[1]}" not in capsys.readouterr().out
