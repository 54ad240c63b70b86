"""Fixtures of the command line's tests: the command, as a process of its own or called in this one.

Flows run against the Prefect server that all tests share; only what is about a store's own server starts one.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.cli.main import main
from flows.local_server.ensure import Server, environment
from prestow.containers.create import remove_container
from prestow.errors import PrestowError
from prestow.store.node import open_node
from tests.image_factory import put_image, tag
from tests.prefect_records import until
from tests.processes import Child
from tests.tar_builder import Tar

PROJECT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its answer, which must be one JSON document and nothing else."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Prestow:
    """The command on one store."""

    home: Path
    api: Mapping[str, str]
    scratch: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process: nobody's settings, credentials or Prefect profile but this test's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PRESTOW", "PREFECT"))}
        return {**kept, "HOME": str(self.scratch), "PRESTOW_HOME": str(self.home), "PRESTOW_COLD": "1", **self.api}

    def start(
        self, *arguments: str, env: Mapping[str, str] | None = None, prefix: tuple[str, ...] = (), **options: Any
    ) -> Child[str]:
        """Start it, after words such as ``nice``; SIGINT is not ignored, whoever started the tests."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        command = [*prefix, "env", "--default-signal=INT", sys.executable, "-m", "prestow", *arguments]
        return Child(command, cwd=PROJECT, env={**self.environment, **(env or {})}, text=True, **streams)

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> Done:
        """Run it to its end."""
        with self.start(*arguments, env=env, **options) as process:
            out, err = process.communicate()
        return Done(process.returncode, out or "", err or "")


Called = Callable[..., Done]


def opened(home: Path, container: str) -> int:
    """Open what the program of image ``waiting`` reads, for writing, as soon as the program has opened it itself."""
    fifo = home / "bundles" / container / "rootfs/etc/motd"
    until(lambda: [fifo] if fifo.exists() else [], 1, f"the files of container {container}")
    return os.open(fifo, os.O_WRONLY)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The folder of a store that is not there yet; connections that were opened for it here are closed."""
    folder = tmp_path / "store"
    yield folder
    if folder.is_dir():
        with suppress(PrestowError):  # some tests spoil it
            open_node(str(folder)).close()


@pytest.fixture
def called(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], prefect_server: Server
) -> Called:
    """The command, called in this process: quicker, and enough where the process is not the point.

    It has the shared Prefect server: with one of the store's own, the process would stay led to that.
    """
    monkeypatch.setenv("PRESTOW_HOME", str(home))
    monkeypatch.setenv("PRESTOW_CONFIG", "")
    monkeypatch.setenv("PRESTOW_COLD", "1")
    _silence_prefect(monkeypatch)

    def call(*arguments: str) -> Done:
        capfd.readouterr()
        try:
            status = main(arguments)
        except SystemExit as ended:  # argparse, after --help
            status = int(ended.code or 0)
        out, err = capfd.readouterr()
        return Done(status, out, err)

    return call


def _silence_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Prefect print nothing, as in a command's own process, though another test began it in this one."""
    for name in ("", "prefect", "prefect.flow_runs", "prefect.task_runs", "prefect.extra"):
        for handler in logging.getLogger(name).handlers:
            if type(handler).__name__ == "PrefectConsoleHandler":
                monkeypatch.setattr(handler, "level", logging.CRITICAL)


@pytest.fixture
def alone(home: Path, tmp_path: Path) -> Prestow:
    """The command without any Prefect API."""
    return Prestow(home, {}, tmp_path)


@pytest.fixture
def prestow(home: Path, tmp_path: Path, prefect_server: Server) -> Iterator[Prestow]:
    """The command with the shared Prefect server; its containers are removed at the end."""
    api = {name: value for name, value in environment(prefect_server).items() if name != "PREFECT_HOME"}
    command = Prestow(home, api, tmp_path)
    yield command
    if home.exists():
        node = open_node(str(home))
        for record in node.containers.list():
            remove_container(node, record.id)


@pytest.fixture(scope="session")
def nasty_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with an image, ``nasty``, whose config tries to move the cursor and to forge lines."""
    layout = tmp_path_factory.mktemp("nasty")
    evil = "\x1b[2J\x1b]0;owned\x07\nforged line\r"
    config = {"User": evil, "WorkingDir": f"/{evil}", "Env": [f"A={evil}"], "Labels": {evil: evil}}
    tag(layout, put_image(layout, [Tar().file("f", b"x").to_bytes()], config=config), "nasty")
    return layout
