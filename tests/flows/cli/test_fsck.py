"""The verb ``fsck``: a table or a document, and an exit status."""

import os
from pathlib import Path

import pytest

from flows.pull import pull
from prestow.digest import Digest
from prestow.store.node import open_node
from tests.conformance.snapshotter_damage import flip
from tests.flows.cli.conftest import Called, Prestow, opened
from tests.flows.cli.test_reading import loaded
from tests.registries import PASSWORD, USER, Access, FaultRegistry
from tests.registry_blocks import saved


@pytest.fixture
def layer(prefect_server: object, home: Path, demo_layout: Path) -> Path:
    """The demo image, pulled; the file of one of its diff blobs."""
    found = pull(f"oci:{demo_layout}:demo", driver="native", home=str(home))
    return open_node(str(home)).content.path(Digest(found.layers[1].diff_id))


def test_an_image_that_is_well(called: Called, layer: Path) -> None:
    done = called("fsck", "demo")
    document = called("fsck", "--all", "--json").document

    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[1].split()[:3] == ["localhost/demo:latest", "9", "1"]
    assert done.out.endswith("all well\n")
    assert document["damaged"] == 0
    verified = {"namespace", "name", "digest", "blobs", "snapshots", "bytes", "damaged"}
    assert set(document["images"][0]) == {*verified, "mended", "left", "containers"}
    assert document["store"]["damaged"] == []


def test_what_is_damaged_is_named_and_the_status_says_so(called: Called, layer: Path) -> None:
    flip(layer)

    done = called("fsck", "demo")
    document = called("fsck", "demo", "--json")

    assert (done.status, document.status, done.err) == (5, 5, "")
    assert f"sha256:{layer.name}" in done.out
    assert document.document["damaged"] == 2
    assert document.document["images"][0]["damaged"][0] == {
        "kind": "diff blob",
        "name": f"sha256:{layer.name}",
        "what": "its bytes are no longer those of its digest",
    }


@pytest.mark.parametrize("line", ["fsck", "fsck demo --all"])
def test_one_image_is_named_or_all(called: Called, line: str) -> None:
    done = called(*line.split())

    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)


def test_an_image_that_is_not_here_is_said(called: Called) -> None:
    assert called("fsck", "nothing").status == 3
    document = called("fsck", "--all", "--json").document
    assert (document["images"], document["damaged"]) == ([], 0)


def test_what_is_damaged_is_repaired(called: Called, layer: Path) -> None:
    flip(layer)

    done = called("fsck", "demo", "--repair")
    again = called("fsck", "--all")

    assert (done.status, again.status) == (0, 0)
    assert "decompressed again" in done.out
    assert "2 repaired" in done.out
    assert "damaged" not in again.out


def test_a_repair_reads_the_block_that_it_names_and_needs_prefect_for_nothing_else(
    called: Called, home: Path, fault_registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_DOCKER_CONFIG", str(home.parent / "none.json"))
    found = pull(f"{fault_registry.own}/demo:demo", driver="native", home=str(home)).layers[1]
    fault_registry.access = Access(None)
    for digest in (found.digest, found.diff_id):
        flip(open_node(str(home)).content.path(Digest(digest)))

    refused = called("fsck", "--all", "--repair")
    with saved(username=USER, password=PASSWORD, registry=fault_registry.domain) as name:
        done = called("fsck", "--all", "--repair", "--credentials", name)
    gone = called("fsck", "--all", "--repair", "--credentials", name)

    assert (refused.status, done.status, gone.status) == (5, 0, 3)
    assert "wants a user name and a password" in refused.out
    assert "fetched again" in done.out
    assert "create it there, or name another" in gone.err
    assert PASSWORD not in f"{refused}{done}{gone}"


def test_credentials_are_for_a_repair(called: Called) -> None:
    done = called("fsck", "--all", "--credentials", "block:a")

    assert (done.status, "add --repair" in done.err) == (2, True)


@pytest.mark.long
def test_a_container_that_runs_is_told_and_goes_on(prestow: Prestow, called: Called, waiting_layout: Path) -> None:
    with prestow.start("run", "--id", "busy", f"oci:{waiting_layout}:waiting") as process:
        writer = opened(prestow.home, "busy")
        node = open_node(str(prestow.home))
        for info in node.snapshots():
            if info.diff_id is not None:
                flip(node.content.path(info.diff_id))

        done = called("fsck", "waiting", "--repair", "--json")

        os.write(writer, b"at last\n")
        os.close(writer)
        out, _ = process.communicate()

    told = done.document["images"][0]["containers"]
    assert [(each["namespace"], each["id"]) for each in told] == [("default", "busy")]
    assert "until it is restarted" in told[0]["what"]
    assert done.status == 0
    assert (process.returncode, out) == (0, "at last\n")


def test_prefect_is_not_loaded(alone: Prestow, layer: Path) -> None:
    assert loaded(alone, "fsck", "demo") & {"prefect", "httpx", "rich"} == set()
