"""Fixtures: a warm process that needs no Prefect, and commands that it runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.warm import client, place
from flows.warm.caller import key
from tests.processes import Child

MIRROR = "tests.flows.warm.mirror"
PROJECT = Path(__file__).parents[3]
_CLIENT = """
import sys
from pathlib import Path
from flows.warm import client
ended = client.run(Path(sys.argv[1]), sys.argv[2:], "tests.flows.warm.mirror")
sys.exit("not run" if ended is None else ended)
"""


@dataclass(frozen=True)
class Mirror:
    """The process, and the way to it."""

    home: Path

    def pid(self, runs: int = 0) -> int:
        """Return the process, once it has no more children than those ``runs``: one of them told us."""
        pid = client.status(self.home)
        assert pid is not None
        until(lambda: len(children(pid)) == runs, "the end of the child that told of its server")
        return pid

    def launched(self) -> list[int]:
        """Find the processes of this store, and their children."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if str(self.home / "warm").encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def start(self, *words: str, prefix: tuple[str, ...] = (), **options: Any) -> Child[str]:
        """Start a command from a process of its own; ``prefix`` are words such as ``nice`` before it."""
        environment: Mapping[str, str] = options.pop("env", None) or os.environ
        # Whoever runs the tests in the background, or by nohup, has signals ignored in all that they start.
        prefix = ("env", "--default-signal=HUP,INT", *prefix)
        # -E would change the interpreter's flags, and so the key
        command = [*prefix, sys.executable, "-c", _CLIENT, str(self.home), *words]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return Child(command, env={**environment, "PYTHONPATH": str(PROJECT)}, text=True, **streams)

    def __call__(self, *words: str, input: str | None = None, **options: Any) -> "subprocess.CompletedProcess[str]":  # noqa: A002
        """Run a command to its end."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        with self.start(*words, **options) as process:
            out, err = process.communicate(input)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.fixture(scope="module")
def mirror_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store that is not there yet; its warm process is ended."""
    folder = tmp_path_factory.mktemp("mirror") / "a folder with a name far longer than an address may be" / ("x" * 100)
    folder.parent.mkdir()
    yield folder
    put_down(folder)


@pytest.fixture(scope="module")
def mirror(mirror_home: Path) -> Mirror:
    """The process."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(PROJECT))
        assert place.launch(mirror_home, key(), MIRROR) is not None
    return Mirror(mirror_home)


def put_down(home: Path) -> None:
    """End a store's warm process, and before it what a test that failed left running in it: it would wait for that."""
    pid = client.status(home)
    for child in [] if pid is None else children(pid):
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    client.stop(home)


def until(ask: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 30
    while not ask():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """Return the children of a process that has one thread."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descriptors(pid: int) -> int:
    """Count the open files of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident(pid: int) -> int:
    """Return the resident KiB of a process that are its own; pages of files come and go as the kernel likes."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1])
