"""What a person sees of a run in the UI: its name, its tags, its log and its artifacts, as a real server has them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client, tags
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun, Log

from flows.fsck import fsck
from flows.hand_over import hand_over
from flows.prepull import prepull
from flows.prune import prune
from flows.pull import pull
from flows.run import run
from prestow.digest import Digest
from prestow.store.node import open_node
from tests.conformance.snapshotter_damage import flip
from tests.flows.cli.conftest import Called, called
from tests.prefect_records import flow_run_id, runs_of, task_runs, until
from tests.registries import DockerRegistry

__all__ = ["called"]

FAILING = {"dry_run": True, "stop_after": "resolved"}
"""What a pull refuses at once."""

ENDS = ("done: ", "failed: ", "stopped after ")

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(autouse=True)
def named_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's name in the fleet."""
    monkeypatch.setenv("PRESTOW_NODE_NAME", "gpu-01")


def recorded(flow: Callable[..., Any], *arguments: Any, **parameters: Any) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run_id(flow(*arguments, **parameters, return_state=True)))


def log_of(flow_run: UUID) -> list[tuple[int, str]]:
    """The lines of our own, with their levels, once the last one is there."""
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run]))

    def logs() -> list[Log]:
        with get_client(sync_client=True) as client:
            found = client.read_logs(wanted)
        return found if any(log.message.startswith(ENDS) for log in found) else []

    found = sorted(until(logs, 1, f"the end of the log of {flow_run}"), key=lambda log: log.timestamp)
    return [
        (log.level, log.message) for log in found if "Traceback" not in log.message and log.name != "prefect.task_runs"
    ]


def artifacts_of(flow_run: UUID) -> list[Artifact]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]))
        )
    return [artifact for artifact in found if artifact.type is not None]


def rows(artifact: Artifact) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(str(artifact.data))
    return found


@pytest.mark.parametrize(
    ("flow", "parameters", "name", "image"),
    [
        (pull, {"reference": "a.example/b:1", **FAILING}, "pull a.example/b:1", "a.example/b:1"),
        (pull, {"reference": "oci:/no:x", "name": "mine"}, "pull oci:/no:x", "docker.io/library/mine:latest"),
        (pull, {"reference": "oci-archive:/no"}, "pull oci-archive:/no", None),
        (pull, {"reference": "oci-archive:/no:b.example/a:1"}, "pull oci-archive:/no:b.example/a:1", "b.example/a:1"),
        (pull, {"reference": "dir:/no"}, "pull dir:/no", None),
        (pull, {"reference": "Not A Name"}, "pull Not A Name", None),
        (run, {"reference": "a.example/b:1", "pull": "never"}, "run a.example/b:1", "a.example/b:1"),
        (prepull, {"images": ["oci:/no:x", "oci:/no:y"]}, "prepull gpu-01 · 2 images", None),
        (hand_over, {"images": ["a.example/b:1"]}, "hand over gpu-01 · 1 image", None),
        (prune, {"dry_run": True}, "prune gpu-01 · dry run", None),
        (fsck, {}, "fsck gpu-01 · all images", None),
        (fsck, {"image": "a.example/b:1", "repair": True}, "fsck gpu-01 · a.example/b:1 · repair", "a.example/b:1"),
    ],
)
def test_each_run_has_a_name_that_reads_and_tags_to_find_it_by(
    home: str, flow: Any, parameters: dict[str, Any], name: str, image: str | None
) -> None:
    found = recorded(flow, **parameters, home=home)

    assert found.name == name
    assert sorted(found.tags) == sorted({"prestow", "gpu-01", *([image] if image else [])})


@pytest.fixture
def closed() -> Iterator[None]:
    """A limit that no step with the host's tag could pass."""
    with get_client(sync_client=True) as client:
        client.create_concurrency_limit("gpu-01", 0)
        yield
        client.delete_concurrency_limit_by_tag("gpu-01")


@pytest.mark.usefixtures("closed")
def test_steps_have_the_tags_of_their_run_and_ask_for_the_limits_of_the_caller_s_alone(
    home: str, demo_layout: Path
) -> None:
    with tags("nightly"):
        runs = [recorded(pull, f"oci:{demo_layout}:demo", home=home) for _ in range(2)]

    for found in runs:
        assert sorted(found.tags) == ["gpu-01", "localhost/demo:latest", "nightly", "prestow"]
        steps = task_runs(found.id, 13)
        assert {tuple(sorted(step.tags)) for step in steps} == {tuple(sorted(found.tags))}
    assert {step.state_name for step in steps} == {"Completed", "Cached"}


def test_the_log_of_a_command_s_pull_tells_the_story_and_the_terminal_does_not(
    called: Called, home: Path, docker_registry: DockerRegistry, demo_layout: Path
) -> None:
    reference = docker_registry.push(demo_layout, "demo", "page/story:1")

    done = [called("pull", reference), called("pull", reference), called("pull", reference, "--dry-run")]

    again, first = (log_of(found.id) for found in runs_of("pull", str(home))[1:])
    assert [each.status for each in done] == [0, 0, 0]
    assert {level for level, _ in first + again} == {20}
    told = [line for _, line in first]
    assert told[0].startswith(f"resolved {reference}: sha256:")
    assert told[0].endswith(f", as {docker_registry.domain} says")
    assert told[1] == "linux/amd64, 3 layers of 1021 B: 0 B here, 1021 B in 3 of them to fetch"
    assert told[2].startswith(f"done: {reference} is here: 1021 B fetched, 0 B reused, in ")
    assert [line for _, line in again][1] == "linux/amd64, 3 layers of 1021 B, all here"
    assert all("resolved" not in each.err + each.out for each in done)


def test_a_failed_run_s_log_says_why_and_what_to_do(called: Called, home: Path, demo_layout: Path) -> None:
    done = called("pull", f"oci:{demo_layout}:absent")

    (found,) = runs_of("pull", str(home))
    assert log_of(found.id) == [(40, f"failed: {done.err.splitlines()[-1].removeprefix('prestow: ')}")]


def test_a_run_that_stops_says_where(home: str, demo_layout: Path) -> None:
    found = recorded(pull, f"oci:{demo_layout}:demo", stop_after="layer-stored", home=home)

    assert "stopped after layer-stored; the next pull resumes there" in log_of(found.id)[-1][1]
    (table,) = artifacts_of(found.id)
    assert [row["fetched or reused"].partition(" ")[0] for row in rows(table)] == ["fetched"] * 3


def test_a_pull_leaves_a_table_of_its_layers(home: str, demo_layout: Path) -> None:
    first, again = (recorded(pull, f"oci:{demo_layout}:demo", home=home) for _ in range(2))

    (table,), (second,) = artifacts_of(first.id), artifacts_of(again.id)
    assert (table.type, list(rows(table)[0])) == ("table", ["layer", "size", "fetched or reused", "seconds"])
    assert [row["fetched or reused"] for row in rows(table)] == [f"fetched {row['size']}" for row in rows(table)]
    assert all(float(row["seconds"]) > 0 for row in rows(table))
    assert [(row["fetched or reused"], row["seconds"]) for row in rows(second)] == [("reused", "0.00")] * 3
    assert str(table.description).startswith("`localhost/demo:latest` `sha256:")


def test_the_page_of_a_prepull_shows_its_images_and_each_host_has_its_own_artifacts(
    home: str, demo_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recorded(prepull, [f"oci:{demo_layout}:demo"], home=home)
    checked = recorded(fsck, home=home)

    parents = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[whole.id]))
    with get_client(sync_client=True) as client:
        parts = client.read_flow_runs(flow_run_filter=parents)
    assert [(part.name, part.state_name) for part in parts] == [(f"pull oci:{demo_layout}:demo", "Completed")]
    assert log_of(whole.id) == [(20, "done: 1 image here on gpu-01, 1021 B fetched")]
    assert [each.key for each in artifacts_of(whole.id) + artifacts_of(checked.id)] == [
        "prestow-host-gpu-01", "prestow-fsck-gpu-01"
    ]  # fmt: skip


def test_what_a_prune_frees_and_an_fsck_finds_is_on_their_pages(home: str, demo_layout: Path) -> None:
    layer = pull(f"oci:{demo_layout}:demo", driver="native", home=home).layers[1]
    flip(open_node(home).content.path(Digest(layer.diff_id)))

    checked = recorded(fsck, home=home)
    pull(f"oci:{demo_layout}:demo", name="unfinished", platform="linux/arm64", stop_after="layer-fetched", home=home)
    pruned = [recorded(prune, unfinished=True, dry_run=dry_run, home=home) for dry_run in (True, False)]

    (table,) = artifacts_of(checked.id)
    damage, *_, store = rows(table)
    assert damage["damaged"] == f"`{str(layer.diff_id)[:19]}`"
    assert (store, table.description) == (
        {"image": "the store", "damaged": "nothing", "what": "", "became": ""},
        "2 still damaged",
    )
    assert checked.state is not None
    assert "of localhost/demo:latest is damaged: " in str(checked.state.message)
    told = [log_of(run.id)[-1][1] for run in pruned]
    assert [line.partition(" ")[2].partition(" 1")[0] for line in told] == ["would free", "freed"]
    assert told[0].removeprefix("done: would free") == told[1].removeprefix("done: freed")
    assert "2 ingests" in told[0]
