"""A command in the warm process is to the kernel a plain child of its caller, whoever started the process."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.warm.conftest import PROJECT, Mirror, put_down
from tests.groups import Group, group

_SHOW = "from tests.flows.warm.mirror import show; show()"
_FILTERED = """
import ctypes, os, sys
class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]
allow = Program(1, ctypes.pointer(Instruction(6, 0, 0, 0x7FFF0000)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(allow)) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""
_LAST = max(os.sched_getaffinity(0))
_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2
_ODD = ("taskset", "-c", str(_LAST), "ionice", "-c", "3", "nice", "-n", "7", "choom", "-n", "321", "--")
PREFIXES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "one CPU": ("taskset", "-c", str(_LAST)),
    "idle I/O": ("ionice", "-c", "3"),
    "low I/O": ("ionice", "-c", "2", "-n", "7"),
    "nice": ("nice", "-n", "5"),
    "batch": ("chrt", "--batch", "0"),
    "idle": ("chrt", "--idle", "0"),
    "real time": ("chrt", "--rr", "3"),
    "first to be killed": ("choom", "-n", "500", "--"),
    "limits": ("prlimit", f"--nofile={_FILES}", "--cpu=1000:2000", "--core=0", "--nproc=5000:6000", "--fsize=9999999"),
    "all": (*_ODD, "prlimit", "--memlock=123456", "--as=unlimited"),
}


@pytest.fixture(scope="module")
def groups() -> Iterator[tuple[Group, Group]]:
    """Two units."""
    with group() as first, group() as second:
        yield first, second


@pytest.fixture(scope="module")
def oddly_started(groups: tuple[Group, Group], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A store whose warm process was started from a unit, with all that can be set for a process."""
    home = tmp_path_factory.mktemp("odd") / "store"
    limited = ("prlimit", "--nofile=256:", "--cpu=100:")
    assert Mirror(home)("exit", "0", prefix=(*groups[0].prefix, *limited, *_ODD)).returncode == 0
    yield Mirror(home)
    put_down(home)


def _may(prefix: tuple[str, ...]) -> bool:
    return subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0


def _plain(prefix: tuple[str, ...]) -> dict[str, str]:
    """Show what a plain child of such a caller is."""
    command = ["env", "--default-signal=HUP,INT", *prefix, sys.executable, "-c", _SHOW]
    found: dict[str, Any] = json.loads(subprocess.run(command, cwd=PROJECT, check=True, capture_output=True).stdout)
    standing: dict[str, str] = found["standing"]
    return standing


def _warm(mirror: Mirror, prefix: tuple[str, ...]) -> dict[str, str]:
    process = mirror.pid()
    done = mirror("show", prefix=prefix)
    assert mirror.pid() == process
    assert done.returncode == 0, done.stderr
    standing: dict[str, str] = json.loads(done.stdout)["standing"]
    return standing


@pytest.mark.parametrize("name", PREFIXES)
def test_a_run_is_treated_as_a_plain_child_of_its_caller(oddly_started: Mirror, name: str) -> None:
    if not _may(PREFIXES[name]):
        pytest.skip("that is not allowed here")

    assert _warm(oddly_started, PREFIXES[name]) == _plain(PREFIXES[name])


def test_a_run_is_in_the_control_groups_of_its_caller(oddly_started: Mirror, groups: tuple[Group, Group]) -> None:
    for unit in groups:
        found = _warm(oddly_started, unit.prefix)
        assert found == _plain(unit.prefix)
        for hierarchy, path in unit.paths.items():
            assert f":{hierarchy}:{path}\n" in found["cgroup"]


def test_the_process_has_nothing_of_its_starter(oddly_started: Mirror, groups: tuple[Group, Group]) -> None:
    pid = oddly_started.pid()
    first = Path("/proc/1/oom_score_adj").read_text()

    assert pid not in groups[0].members()
    assert os.sched_getaffinity(pid) == os.sched_getaffinity(1)
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 1)
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == max(0, int(first))
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU):
        soft, hard = resource.prlimit(pid, limit)
        assert soft == hard
    assert "idle" not in subprocess.run(["ionice", "-p", str(pid)], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("prefix", [("setarch", "--addr-no-randomize"), ("setpriv", "--no-new-privs")], ids=" ".join)
def test_what_no_process_can_give_itself_is_had_by_a_newer_process(
    oddly_started: Mirror, prefix: tuple[str, ...]
) -> None:
    older = oddly_started.pid()

    assert oddly_started("exit", "5", prefix=prefix).returncode == 5
    assert oddly_started("exit", "6").returncode == 6

    assert oddly_started.pid() != older


def test_a_caller_whose_system_calls_are_filtered_runs_cold_and_leaves_the_process_alone(oddly_started: Mirror) -> None:
    process = oddly_started.pid()

    done = oddly_started("exit", "5", prefix=(sys.executable, "-c", _FILTERED))

    assert (done.returncode, done.stderr) == (1, "not run\n")
    assert oddly_started.pid() == process
