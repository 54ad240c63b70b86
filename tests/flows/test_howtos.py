"""The how-tos of the fleet, typed line by line: the installed wheel, a registry, two hosts and a coordinator."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from flows.local_server.ensure import Server, ensure, environment, stop
from flows.rollout.identity import latest
from tests.image_factory import put_image, tag
from tests.prefect_records import client, until
from tests.registries import DockerRegistry
from tests.tar_builder import Tar
from tests.wheels import ROOT, Installed

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

_DOCS = ROOT / "docs" / "how-to"
_BLOCK = re.compile(r"^```(sh|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HOSTS = ("gpu-01", "gpu-02")


@dataclass
class Desk:
    """Where a person types: a directory, an environment, and what runs in the background.

    Attributes:
        program: the installed command.
    """

    folder: Path
    program: Path
    env: Mapping[str, str]
    registry: DockerRegistry
    server: Server
    around: ExitStack
    said: list[str] = field(default_factory=list)

    def follow(self, document: str, answer: Callable[[], object] | None = None) -> None:
        """Do what a how-to says; ``answer`` is what a person does in the UI while `prestow fleet apply` waits."""
        for kind, text in _BLOCK.findall((_DOCS / document).read_text("utf-8")):
            shown = text.replace("registry.example", self.registry.domain)
            if kind == "yaml" and "sets:" in shown:
                assert yaml.safe_load(shown)
                (self.folder / "fleet.yaml").write_text(shown)
            for line in shown.splitlines() if kind == "sh" else ():
                self.type(line, answer)

    def type(self, line: str, answer: Callable[[], object] | None = None) -> str:
        """Type a command, and give what it prints; a worker stays in the background."""
        words = shlex.split(line)
        assert words[0] == "prestow"
        if words[1:3] == ["node", "up"]:
            for host in _HOSTS if "--name" in words else (None,):
                self.up(host, words[1:])
            return ""
        with subprocess.Popen(
            [self.program, *words[1:]], cwd=self.folder, env=self.env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            if answer is not None and words[1:3] == ["fleet", "apply"]:
                answer()
            out, err = process.communicate()
        assert process.returncode == 0, f"{line}: {process.returncode}\n{out}\n{err}"
        self.said.append(out)
        return out

    def up(self, host: str | None, words: list[str]) -> None:
        """Start the worker of a host, or of the coordinator, and wait until the API has heard it."""
        name = host or "coordinator"
        typed = [host if word in _HOSTS else word for word in words]
        env = {**self.env, "PRESTOW_HOME": str(self.folder / name), "PREFECT_WORKER_QUERY_SECONDS": "0.5"}
        log = (self.folder / f"{name}.log").open("wb")
        command = ["env", "--default-signal=INT", self.program, *map(str, typed)]
        process = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=subprocess.STDOUT)
        self.around.callback(log.close)
        self.around.callback(process.wait, 60)
        self.around.callback(process.terminate)
        until(lambda: [each for each in workers(self.env) if each == name], 1, f"the worker {name}")


def workers(env: Mapping[str, str]) -> list[str]:
    """Return the workers that the pool knows."""
    asked = "from flows.rollout.workers import beats; import json; print(json.dumps(sorted(beats())))"
    ran = subprocess.run(
        [sys.executable, "-c", asked], env={**env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    return json.loads(ran.stdout) if ran.returncode == 0 else []


@pytest.fixture
def desk(installed: Installed, tmp_path: Path, docker_registry: DockerRegistry) -> Iterator[Desk]:
    """A machine with a registry of two images, and a server of its own."""
    push(tmp_path, docker_registry, "app:1.4", "one")
    push(tmp_path, docker_registry, "app:1", "one")
    push(tmp_path, docker_registry, "tool:2", "two")
    with serving(tmp_path / "server") as server, ExitStack() as around:
        env = {
            **installed.environment,
            **environment(server),
            "PRESTOW_HOME": str(tmp_path / "desk"),
            "PRESTOW_DEPLOYED_FLEETS": json.dumps([str(tmp_path)]),
            "PRESTOW_DEPLOYED_HOMES": json.dumps([str(tmp_path)]),
        }
        yield Desk(tmp_path, installed.folder / "bin/prestow", env, docker_registry, server, around)


@contextmanager
def serving(home: Path) -> Iterator[Server]:
    """Run a server."""
    home.mkdir(mode=0o700)
    try:
        yield ensure(home)
    finally:
        stop(home)


def push(folder: Path, registry: DockerRegistry, name: str, content: str) -> None:
    """Push a small image."""
    layout = folder / f"layout {name}".replace(":", " ")
    tag(layout, put_image(layout, [Tar().file("etc/version", content.encode()).to_bytes()]), "it")
    registry.push(layout, "it", f"team/{name}")


def converged(desk: Desk) -> tuple[int, dict[str, str]]:
    """Return what `prestow fleet status` says: the generation, and the state of each host."""
    document = json.loads(desk.type("prestow fleet status --json"))
    desk.said.pop()
    return document["generation"], {host["host"]: host["state"] for host in document["hosts"]}


def test_the_first_fleet_comes_up_and_converges(desk: Desk) -> None:
    desk.follow("your-first-fleet.md")

    assert converged(desk) == (1, dict.fromkeys(_HOSTS, "ready"))

    push(desk.folder, desk.registry, "app:1.5", "a newer one")
    for line in ("prestow fleet lock --update", "prestow fleet apply"):
        desk.type(line)
    assert converged(desk) == (2, dict.fromkeys(_HOSTS, "ready"))

    desk.follow("roll-back.md")
    held, back, released, forth = desk.said[-4:]
    assert "generation 1 holds" in held
    assert "generation 1: all 2 hosts have all images" in back
    assert "generation 2 is held back" in back
    assert "the lock decides again" in released
    assert "generation 2: all 2 hosts have all images" in forth
    assert converged(desk) == (2, dict.fromkeys(_HOSTS, "ready"))


def test_a_wave_waits_for_a_person(desk: Desk) -> None:
    for line in ("prestow deploy", "prestow node up --name gpu-01"):
        desk.type(line)

    def approve() -> None:
        with client(desk.server) as api:
            held = until(lambda: [run for run in latest(api, "nightly") if run.state_name == "Paused"], 1, "a hold")[0]
            api.resume_flow_run(held.id, run_input={"decision": "approve"})

    desk.follow("roll-out-with-approval.md", approve)

    assert converged(desk) == (1, dict.fromkeys(_HOSTS, "ready"))
