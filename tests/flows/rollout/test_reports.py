"""What hosts report, read back from a real server: the newest of each, in few requests, and nothing that is broken."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from socket import socket
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate

from flows.rollout.reports import read_reports
from prestow.fleet.file import Host
from prestow.fleet.report import Report
from tests.reports import emit, fleet_of, image, layer, report

APP = image("r.io/app:1", layer(1))


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def keep(client: SyncPrefectClient, host: Host, text: str) -> None:
    """Make the artifact of a host."""
    client.create_artifact(ArtifactCreate(key=f"prestow-host-{host.key}", type="markdown", data=text))


def page(report: Report) -> str:
    return f"# {report.host}\n\n```json\n{report.model_dump_json()}\n```\n"


def test_the_newest_report_of_each_host_counts(client: SyncPrefectClient, now: datetime) -> None:
    one, other, silent = fleet = fleet_of(3)
    old, new = (report(one.name, [APP], at=now - timedelta(minutes=age), free_bytes=age) for age in (20, 5))
    emit(client, new, old, report(other.name, at=now))

    found = read_reports(client, fleet, now)

    assert found.of[one.name] == new
    assert found.of.keys() == {one.name, other.name}
    assert silent.name not in found.of
    assert found.warnings == ()


def test_hosts_without_an_event_are_found_by_their_artifacts(client: SyncPrefectClient, now: datetime) -> None:
    lately, long_ago, dotted = [*fleet_of(2), Host(name=f"{fleet_of(1)[0].name}.lan.example")]
    old = {host.name: report(host.name, [APP], at=now - timedelta(days=30)) for host in (lately, long_ago, dotted)}
    for host in (lately, long_ago, dotted):
        keep(client, host, "of an earlier run")
        keep(client, host, page(old[host.name]))
    emit(client, report(lately.name, at=now - timedelta(hours=5)))

    found = read_reports(client, [lately, long_ago, dotted], now)

    assert found.of[lately.name].at == now - timedelta(hours=5)
    assert found.of[long_ago.name] == old[long_ago.name]
    assert found.of[dotted.name] == old[dotted.name]
    assert found.warnings == ()


GOOD = report("x").model_dump(mode="json")


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({}, "host: Field required"),
        ({**GOOD, "rate": "Infinity"}, "rate"),
        ({**GOOD, "free_bytes": -1}, "free_bytes"),
        ({**GOOD, "disk_bytes": 10**30}, "disk_bytes"),
        ({**GOOD, "interval": 1e300}, "interval"),
        ({**GOOD, "images": [{"name": "`|<script>`"}]}, "images.0.digest"),
        ({**GOOD, "more": 1}, "more"),
        ({**GOOD, "host": "../other"}, "host"),
        (GOOD, "it speaks for x"),
    ],
)
def test_a_broken_report_is_skipped_with_a_warning_that_names_the_host(
    client: SyncPrefectClient, now: datetime, payload: Mapping[str, Any], why: str
) -> None:
    bad, good = fleet = fleet_of(2)
    emit(client, payload, host=bad.name)
    emit(client, report(good.name, at=now))

    found = read_reports(client, fleet, now)

    assert found.of.keys() == {good.name}
    [warning] = found.warnings
    assert warning.startswith(f"{bad.name}: its report was skipped: {why}")


def test_of_an_event_and_an_artifact_the_later_one_counts(client: SyncPrefectClient, now: datetime) -> None:
    first, second = fleet = fleet_of(2)
    earlier = now - timedelta(minutes=5)
    for host, event, artifact in ((first, now, earlier), (second, earlier, now)):
        emit(client, report(host.name, at=event))
        keep(client, host, page(report(host.name, at=artifact)))

    assert {each.at for each in read_reports(client, fleet, now).of.values()} == {now}


@pytest.mark.parametrize("text", ["", "```json\n{}\n```", "```json\n" + "[" * 5000 + "\n```", "```json\nno\n```\n"])
def test_a_broken_artifact_is_skipped_with_a_warning(client: SyncPrefectClient, now: datetime, text: str) -> None:
    [host] = fleet_of(1)
    keep(client, host, text)

    found = read_reports(client, [host], now)

    assert found.of == {}
    assert [warning.split(":")[0] for warning in found.warnings] == [host.name]


def test_three_hundred_hosts_take_a_few_requests(
    client: SyncPrefectClient, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of(300)
    emit(
        client, *(report(host.name, [APP], at=now - timedelta(minutes=age)) for host in fleet[:299] for age in (1, 16))
    )
    keep(client, fleet[299], page(report(fleet[299].name, at=now - timedelta(days=3))))
    asked: list[str] = []
    client._client.event_hooks["request"].append(lambda request: asked.append(request.url.path))

    found = read_reports(client, fleet, now)

    assert found.of.keys() == {host.name for host in fleet}
    assert {found.of[host.name].at for host in fleet[:299]} == {now - timedelta(minutes=1)}
    others = 300 // 50  # hosts of other tests at this server
    assert len(asked) <= 6 + 1 + 2 + others, asked


def test_an_api_that_does_not_answer_is_no_empty_fleet(now: datetime) -> None:
    with socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        with SyncPrefectClient(url) as gone, pytest.raises(httpx.HTTPError):
            read_reports(gone, fleet_of(1), now)
