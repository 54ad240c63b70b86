"""A store on a file system of any kind: pull and run work there by a driver that does, or nothing is fetched."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.bundle import bundle
from flows.cli.checks import run_checks
from flows.pull import pull
from flows.run import run
from prestow.containers.create import remove_container
from prestow.errors import UnsupportedError
from prestow.store.node import open_node
from tests.cases import long_but
from tests.file_systems import FILE_SYSTEMS, mounted

pytestmark = pytest.mark.usefixtures("prefect_server")

NONE_WORKS = "fuse-no-owners"


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The folder of a store that is to be, on the file system that is the parameter."""
    with mounted(request.param, tmp_path) as folder:
        yield folder / "store"
        node = open_node(str(folder / "store"))
        for record in node.containers.list():
            remove_container(node, record.id)
        for snapshotter in node.snapshotters:
            snapshotter.cleanup()
        node.close()


@pytest.mark.parametrize("store", long_but("overlayfs", sorted(FILE_SYSTEMS.keys() - {NONE_WORKS})), indirect=True)
def test_containers_run_and_the_doctor_says_by_which_driver(
    store: Path, demo_layout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pull(f"oci:{demo_layout}:demo", home=str(store))
    ran = run("demo", id="box", home=str(store))
    made = bundle("demo", str(store.parent / "bundle"), id="made", home=str(store))

    assert ran.status == 0
    assert "Hello from a prestowed image." in capfd.readouterr().out
    assert (Path(made.directory) / "rootfs/bin").is_dir()
    found = {
        f.check.removeprefix("snapshotter "): f for f in run_checks(str(store)) if f.check.startswith("snapshotter")
    }
    assert [name for name, finding in found.items() if "is the default" in finding.found] == [made.driver]
    assert all(finding.works or "is used instead" in finding.advice for finding in found.values())


@pytest.mark.parametrize("store", [NONE_WORKS], indirect=True)
def test_where_nothing_works_no_layer_is_fetched_and_the_doctor_says_what_to_do(store: Path, demo_layout: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"no snapshotter works in .*fuse.*ext4, xfs or btrfs"):
        pull(f"oci:{demo_layout}:demo", home=str(store))

    index = json.loads((store / "content/index.json").read_bytes()) if (store / "content/index.json").exists() else {}
    assert not index.get("manifests")
    assert sum(path.stat().st_size for path in (store / "content/blobs").rglob("*") if path.is_file()) < 1 << 14
    findings = [finding for finding in run_checks(str(store)) if finding.check.startswith("snapshotter")]
    assert all(finding.needed and not finding.works and "ext4" in finding.advice for finding in findings)
