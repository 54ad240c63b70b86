"""A container's control group is below that of whoever runs it, however the hierarchies are mounted."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.runtime.bundle import CONFIG, PLACED
from prestow.runtime.overrides import Overrides
from tests.groups import Group, group, memberships
from tests.processes import Child
from tests.runtime.containers import ROOT, SCRIPT, Box

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make control groups")

_UNIFIED_ALONE = 'mount -t cgroup2 none /sys/fs/cgroup && echo $$ >"/sys/fs/cgroup$0/cgroup.procs" && exec "$@"'


@pytest.fixture
def unit() -> Iterator[Group]:
    """The group of whoever runs the container."""
    with group() as made:
        yield made


def _contained(box: Box, prefix: tuple[str, ...]) -> dict[str, str]:
    """Run a container from somewhere, and give the groups that its process was in."""
    arguments = [box.directory, box.container_id, box.state_root]
    command = [*prefix, sys.executable, "-c", SCRIPT, *map(str, arguments)]
    with Child(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        pid = _number(box.directory / "runtime.pid")
        found = memberships(pid)
        process.stdin.close()
        assert process.wait() == 0
    return found


def _number(file: Path) -> int:
    deadline = time.monotonic() + 30
    while not (file.exists() and (text := file.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(text)


@pytest.mark.parametrize("mounted", ["as here", "v2 alone"])
def test_a_container_is_below_the_group_of_whoever_runs_it(box: Box, unit: Group, mounted: str) -> None:
    bundle = box.bundle(["sh", "-c", "echo ready; cat"])
    spec = (bundle / CONFIG).read_bytes()
    alone = ("unshare", "--mount", "sh", "-c", _UNIFIED_ALONE, unit.paths[""])

    found = _contained(box, unit.prefix if mounted == "as here" else alone)

    expected = unit.paths if mounted == "as here" else {"": unit.paths[""]}
    for hierarchy, path in expected.items():
        assert found[hierarchy].startswith(f"{path}/"), hierarchy
    assert (bundle / CONFIG).read_bytes() == spec
    assert not (bundle / PLACED).exists()
    assert not [path for folder in unit.folders.values() for path in folder.iterdir() if path.is_dir()]


def test_a_group_that_the_spec_names_is_the_containers(box: Box, unit: Group) -> None:
    name = f"{unit.paths['']}-named"
    box.bundle(["sh", "-c", "echo ready; cat"], overrides=Overrides(cgroup=name))

    assert set(_contained(box, unit.prefix).values()) == {name}


def test_what_a_killed_run_left_goes_with_the_next(box: Box, unit: Group) -> None:
    bundle = box.bundle(["sh", "-c", "echo ready; cat"])
    (bundle / PLACED).mkdir()
    (bundle / PLACED / CONFIG).write_text("{}")

    assert _contained(box, unit.prefix)[""].startswith(f"{unit.paths['']}/")
    assert not (bundle / PLACED).exists()
