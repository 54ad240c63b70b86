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
