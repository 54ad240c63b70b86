"""A unit that ends takes its own runs along, and nobody else's: control groups are killed whole, as systemd does."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flows.local_server.ensure import status, stop
from prestow.content.process_identity import start_time
from tests.flows.warm.conftest import Mirror, children, put_down, until
from tests.flows.warm.test_commands import Quick
from tests.groups import Group, group, memberships
from tests.registries import Fault, FaultRegistry

_UNUSUAL = ("taskset", "-c", "0", "ionice", "-c", "3", "nice", "-n", "9", "choom", "-n", "300", "--")


@dataclass(frozen=True)
class InUnit(Quick):
    """The command, begun in a unit."""

    unit: Group | None = None
    prefix: tuple[str, ...] = ()

    def start(self, *arguments: str, **options: Any) -> Any:
        """Start it there."""
        unit = self.unit.prefix if self.unit else ()
        return super().start(*arguments, prefix=(*unit, *self.prefix), **options)


@pytest.fixture
def units() -> Iterator[tuple[Group, Group]]:
    """Two of them."""
    with group() as first, group() as second:
        yield first, second


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Mirror]:
    """A store without a warm process; the one that comes is ended."""
    yield Mirror(tmp_path / "store")
    put_down(tmp_path / "store")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[InUnit]:
    """The command on a store of its own, whose server and warm process are ended."""
    command = InUnit(tmp_path / "store", {}, tmp_path)
    yield command
    put_down(command.home)
    stop(command.home)


def _waiting(mirror: Mirror, unit: Group) -> Any:
    process = mirror.start("signals", str(int(signal.SIGTERM)), prefix=unit.prefix)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_unit_that_ends_takes_its_own_run_along_and_no_other(fresh: Mirror, units: tuple[Group, Group]) -> None:
    first, second = units
    with _waiting(fresh, first) as one:
        (run_of_one,) = children(fresh.pid(runs=1))
        with _waiting(fresh, second) as other:
            process = fresh.pid(runs=2)
            (run_of_other,) = set(children(process)) - {run_of_one}
            assert (first.holds(run_of_one), second.holds(run_of_other)) == (True, True)
            assert process not in first.members() | second.members()

            first.end()
            one.communicate()
            other.terminate()
            other.communicate()

    assert (one.returncode, other.returncode) == (-signal.SIGKILL, 0)
    assert start_time(run_of_one) is None
    assert fresh.pid() == process


@pytest.mark.long
def test_pull_server_and_container_outlive_the_unit_that_came_first(
    alone: InUnit, units: tuple[Group, Group], fault_registry: FaultRegistry, waiting_layout: Path
) -> None:
    first, second = units
    pulled = replace(alone, unit=first, prefix=_UNUSUAL).pull(f"oci:{waiting_layout}:waiting")
    server, process = status(alone.home), alone.process.pid()
    assert (pulled.status, server is not None) == (0, True), pulled.err
    assert server is not None
    for stays in (server.pid, process):
        assert stays not in first.members()
        assert os.sched_getaffinity(stays) == os.sched_getaffinity(1)
        assert os.getpriority(os.PRIO_PROCESS, stays) == os.getpriority(os.PRIO_PROCESS, 1)
        assert int(Path(f"/proc/{stays}/oom_score_adj").read_text()) < 300

    fault_registry.on("/blobs/", Fault(status=503, headers={"Retry-After": "3"}), times=1)
    there = replace(alone, unit=second)
    with there.start("pull", f"{fault_registry.own}/app:demo") as pull:
        until(lambda: bool(fault_registry.requests("/blobs/")), "the first blob")
        (run,) = children(alone.process.pid(runs=1))
        assert second.holds(run)
        first.end()
        _, said = pull.communicate()
    assert pull.returncode == 0, said
    assert (status(alone.home), alone.process.pid()) == (server, process)

    with there.start("run", "--rm", "--id", "here", "waiting") as ran:
        motd = alone.home / "bundles/here/rootfs/etc/motd"
        until(motd.exists, "the container")
        writer = os.open(motd, os.O_WRONLY)
        pid = alone.home / "bundles/here/runtime.pid"
        until(pid.exists, "its number")
        contained = memberships(int(pid.read_text()))
        os.write(writer, b"at last\n")
        os.close(writer)
        out, said = ran.communicate()
    assert (ran.returncode, out) == (0, "at last\n"), said
    for hierarchy, path in second.paths.items():
        assert contained[hierarchy].startswith(f"{path}/"), hierarchy
