"""The verb ``images``: names given, labelled, filtered and removed, as a person types it."""

import os
from pathlib import Path

import pytest

from prestow.metadata.tag import tag
from prestow.store.node import open_node
from tests.flows.cli.conftest import Called, Prestow, opened
from tests.metadata.factory import Home, make_image

NAME = "localhost/demo:latest"
BASE = "docker.io/library/base:1"


@pytest.fixture
def digest(home: Path, demo: str) -> str:
    """The digest of the demo image, pulled under its own name."""
    return open_node(str(home)).images.get(demo).target.digest


def listed(called: Called, *options: str) -> list[str]:
    return [image["name"] for image in called("images", "--json", *options).document]


def test_a_second_name_stands_for_the_same_image(called: Called, digest: str) -> None:
    assert called("images", "tag", "demo", "base:1").out == f"docker.io/library/base:1 @ {digest}\n"
    assert called("images", "tag", digest[:19], "other:1", "--json").document["digest"] == digest

    assert listed(called) == [
        "docker.io/library/base:1",
        "docker.io/library/other:1",
        NAME,
    ]
    assert called("images", "tag", "nothing:1", "other:1").status == 3
    assert called("images", "tag", "demo", "NOT A NAME").status == 2
    assert called("images", "tag", "demo", f"base@{digest}").status == 0
    refused = called("images", "tag", "demo", f"base@sha256:{'0' * 64}")
    assert (refused.status, refused.err.count("choose a name without digest")) == (2, 1)


@pytest.mark.parametrize("line", ["tag demo base:1", "label demo team=vision", "rm demo"])
def test_what_a_killed_command_left_is_removed_first(called: Called, home: Path, digest: str, line: str) -> None:
    left = home / "ingest/without-its-data"
    left.mkdir()

    assert called("images", *line.split()).status == 0

    assert not left.exists()


def test_labels_are_shown_and_filtered_by(called: Called, digest: str) -> None:
    called("images", "tag", "demo", "base:1")
    assert called("images", "label", "demo", "team=vision", "keep=", "note=a=b").status == 0
    assert called("images", "label", "base:1", "team=web").out.splitlines()[1:] == ["team=web"]

    found = {image["name"]: image["labels"] for image in called("images", "--json").document}
    assert found[NAME] == {"team": "vision", "keep": "", "note": "a=b", "prestow.source": found[BASE]["prestow.source"]}
    assert called("images", "inspect", "demo", "--json").document["labels"] == found[NAME]
    assert listed(called, "--filter", "label=team") == ["docker.io/library/base:1", NAME]
    assert listed(called, "--filter", "label=team=vision") == [NAME]
    assert listed(called, "--filter", "label=team", "--filter", "label=keep=") == [NAME]
    assert listed(called, "--filter", "label=team=none") == []

    assert called("images", "label", "demo", "team-", "keep-", "note-", "prestow.source-").out == "no labels\n"
    assert listed(called, "--filter", "label=team") == ["docker.io/library/base:1"]


@pytest.mark.parametrize(
    "line",
    ["images label demo team", "images label demo =v", "images label demo -", "images --filter name=x",
     "images --filter label", "images --filter label=", "images rm", "images label demo"],
)  # fmt: skip
def test_a_slip_of_the_pen_is_said_in_one_line(called: Called, line: str) -> None:
    done = called(*line.split())

    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)


def test_a_label_that_is_too_long_is_refused(called: Called, digest: str) -> None:
    done = called("images", "label", "demo", f"k={'v' * 4096}")

    assert (done.status, done.err) == (2, "prestow: label k: key and value have 4097 bytes; at most 4096\n")


def test_a_digest_with_two_names_asks_which(called: Called, digest: str) -> None:
    called("images", "tag", "demo", "base:1")

    refused = called("images", "rm", digest)

    assert (refused.status, refused.out) == (6, "")
    assert f"docker.io/library/base:1, {NAME}; remove them by name, or all of them with --all" in refused.err
    assert called("images", "rm", "--all", digest).out == f"removed docker.io/library/base:1\nremoved {NAME}\n"
    assert called("prune", "--dry-run", "--json").document["bytes"] > 0


def test_a_label_is_not_given_to_one_of_several_names(called: Called, digest: str) -> None:
    called("images", "tag", "demo", "base:1")

    refused = called("images", "label", digest, "team=vision")

    assert (refused.status, refused.out) == (6, "")
    assert refused.err.endswith(f"has 2 names: docker.io/library/base:1, {NAME}; name one of them\n")


def test_one_goes_back_to_what_a_name_stood_for_before(called: Called, home: Path, digest: str) -> None:
    called("images", "tag", "demo", "app:1")
    node = open_node(str(home))
    target = make_image(Home(home, node.database, node.content), b"layer").target
    other = tag(node.database, node.content, "docker.io/library/app:1", target).target.digest

    document = called("images", "inspect", "app:1", "--json").document
    assert [each["digest"] for each in document["earlier"]] == [digest]
    assert document["digest"] == other
    assert f"earlier          {digest} until 20" in called("images", "inspect", "app:1").out
    assert called("images", "tag", digest[:19], "app:1").out == f"docker.io/library/app:1 @ {digest}\n"
    called("images", "rm", "demo")
    assert called("images", "tag", other[:19], "app:1").out == f"docker.io/library/app:1 @ {other}\n"
    assert called("images", "inspect", digest, "--json").document["name"] == "docker.io/library/app:1"


def test_a_namespace_has_names_of_its_own(
    called: Called, home: Path, digest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert called("--namespace", "team", "images", "--json").document == []
    assert called("images", "rm", "demo", "--namespace", "team").status == 3
    node = open_node(str(home))
    tag(node.database, node.content, "localhost/b:1", node.image("demo").target, namespace="team")
    assert listed(called, "--all-namespaces") == [NAME, "localhost/b:1"]
    rows = [line.split()[:2] for line in called("--namespace", "none", "images", "--all-namespaces").out.splitlines()]
    assert rows == [["NAMESPACE", "NAME"], ["default", NAME], ["team", "localhost/b:1"]]
    assert called("images", "rm", "b:1", "--namespace", "team").status == 0
    monkeypatch.setenv("PRESTOW_NAMESPACE", "team")
    assert called("images", "--json").document == []
    assert listed(called, "--namespace", "default") == [NAME]
    assert called("images", "--namespace", "no/name").status == 2
    monkeypatch.setenv("PRESTOW_NAMESPACE", "no/name")
    assert called("images").status == 2


@pytest.mark.long
def test_what_a_container_runs_on_stays_whatever_is_removed_and_pruned(
    prestow: Prestow, called: Called, waiting_layout: Path
) -> None:
    with prestow.start("run", "--id", "busy", f"oci:{waiting_layout}:waiting") as process:
        writer = opened(prestow.home, "busy")

        row = called("--namespace", "none", "containers", "--all-namespaces").out.splitlines()[1].split()
        assert (row[:2], "running" in row) == (["default", "busy"], True)
        refused = called("images", "rm", "waiting")
        forced = called("images", "rm", "--force", "waiting")
        swept = called("prune", "--unfinished", "--above", "0.001", "--json")

        assert (refused.status, forced.status, swept.status) == (6, 0, 0)
        assert "containers were made of it: busy" in refused.err
        assert "warning: containers that were made of it stay, with what they need: busy" in forced.err
        assert "% full, more than 0.001%: no name that may go frees any more of it" in swept.err
        assert (swept.document["left"], set(swept.document["totals"]) <= {"blob"}) == ([], True)
        os.write(writer, b"at last\n")
        os.close(writer)
        out, _ = process.communicate()

    assert (process.returncode, out) == (0, "at last\n")
    assert [found["kept"] for found in called("explain", "busy", "--json").document] == [True, True]
    called("containers", "rm", "busy")
    assert "snapshot" in called("prune", "--json").document["totals"]
    assert called("snapshots", "--json").document == []
