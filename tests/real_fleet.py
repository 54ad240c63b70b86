"""A fleet on one machine: a registry, a mirror of it, a Prefect server on PostgreSQL, and hosts, each in namespaces.

    registry ◀── mirror ◀── h0, h1, …          server ◀── h0, h1, …, coordinator, desk

The desk is where a person types: ``fleet.typed("fleet", "apply", …)``. Needs root.
"""

import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import yaml

from prestow.digest import Digest
from tests.machines import Machine, network
from tests.nginx import CACHE, Nginx, nginx, once
from tests.postgres import postgres
from tests.prefect_records import until
from tests.registries import DockerRegistry, docker_registry

PRESTOW = (sys.executable, "-P", "-m", "prestow")
_PORT = 4200  # in a namespace of the server's own


_DISK = """
if mountpoint -q "$2"; then mount -o "remount,size=$1" "$2"; else mount -t tmpfs -o "mode=700,size=$1" store "$2"; fi
"""


@dataclass
class PrefectServer:
    """Prefect's own server on a machine; after ``stop`` it can start again with what it knew."""

    machine: Machine
    folder: Path
    database: str

    @property
    def url(self) -> str:
        """The URL of its API."""
        return f"http://{self.machine.address}:{_PORT}/api"

    def start(self) -> None:
        """Switch its machine on, and wait until it answers."""
        self.machine.on()
        environment = {
            **_plain(self.folder),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.database,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        where = ["--host", self.machine.address, "--port", str(_PORT)]
        log = self.folder / "log"
        server = self.machine.start(
            log, sys.executable, "-m", "prefect", "server", "start", *where, environment=environment
        )

        def answers() -> list[bytes]:
            assert server.poll() is None, log.read_text()
            try:
                with self.machine.reached(), _DIRECT.open(f"{self.url}/health", timeout=10) as answer:
                    return [answer.read()]
            except OSError:
                return []

        until(answers, 1, "the Prefect server")

    def stop(self) -> None:
        """Switch its machine off."""
        self.machine.off()


@dataclass
class FleetHost:
    """A host: its machine, its files, and the settings with which ``prestow node up`` runs there."""

    machine: Machine
    folder: Path
    environment: dict[str, str]

    @property
    def name(self) -> str:
        """Its name in the fleet."""
        return self.machine.name

    @property
    def store(self) -> Path:
        """Its store."""
        return self.folder / "store"

    def up(self) -> None:
        """Switch its machine on if it is off, and run ``prestow node up``."""
        if not self.machine.is_on:
            self.machine.on()
        which = ["--coordinator"] if self.name == "coordinator" else ["--name", self.name]
        self.machine.start(self.folder / "log", *PRESTOW, "node", "up", *which, environment=self.environment)

    def typed(self, *words: str) -> "CompletedProcess[str]":
        """Run a verb there, as a person types it."""
        return self.machine.run(*PRESTOW, *words, environment=self.environment)

    def mirrors(self, domain: str, server: str, *mirrors: str, rate: int | None = None) -> None:
        """Write the hosts file of a registry: who answers for it, what is asked before, and bytes per second."""
        hosts = self.folder / "certs.d" / domain / "hosts.toml"
        hosts.parent.mkdir(parents=True, exist_ok=True)
        asked = [(f'[host."http://{mirror}"]', f'[host."http://{mirror}".prestow]') for mirror in mirrors]
        limit = "" if rate is None else f"rate = {rate}\n"
        blocks = [f"{host}\n{own}\n{limit}" for host, own in asked]
        hosts.write_text(f'server = "http://{server}"\n[prestow]\n{limit}{"".join(blocks)}')

    def disk(self, size: str) -> None:
        """Let the store be on a file system of its own, of this size; one that is there changes its size."""
        self.store.mkdir(exist_ok=True)
        if not self.machine.is_on:
            self.machine.on()
        done = self.machine.run("sh", "-euc", _DISK, "sh", size, str(self.store), environment=_plain(self.folder))
        assert done.returncode == 0, done.stderr

    def partial(self, size: int) -> list[Path]:
        """Return the partial downloads of its store that take this many bytes on disk."""
        files = [file for file in (self.store / "ingest").rglob("*") if file.is_file()]
        return [file for file in files if file.stat().st_blocks * 512 >= size]

    def log(self) -> str:
        """What ``prestow node up`` said there."""
        return (self.folder / "log").read_text(errors="replace")


@dataclass
class Fleet:
    """All of it.

    Attributes:
        registry: on the machine whose ``sent_bytes`` count what leaves it.
        mirror: a pull-through cache of the registry. It is nginx: Debian's docker-registry, as a proxy, fetches each
            blob twice, once for its client and once to keep it.
        liar: a registry with the same images, whose blobs a test may damage.
        desk: a host that takes no runs.
        hosts: those of the fleet, all off at first.
    """

    server: PrefectServer
    registry: DockerRegistry
    registry_machine: Machine
    mirror: Nginx
    liar: DockerRegistry
    desk: FleetHost
    coordinator: FleetHost
    hosts: Mapping[str, FleetHost]
    _damaged: dict[Path, bytes] = field(default_factory=dict)

    def push(self, layout: Path, tag: str) -> str:
        """Push an image of a layout to the registry, and return its reference there."""
        with self.registry_machine.reached():
            return self.registry.push(layout, tag, f"team/{tag}:1")

    def write(self, hosts: Sequence[str], name: str, images: Sequence[str], **image_set: Any) -> Path:
        """Write a fleet file with one set; return its path."""
        document = {
            "hosts": [{"name": host} for host in hosts],
            "sets": {name: {"images": [*images], **image_set}},
        }
        path = self.desk.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def typed(self, *words: str) -> CompletedProcess[str]:
        """Run a verb at the desk, as a person types it."""
        return self.desk.typed(*words)

    def told(self, *words: str, status: int = 0) -> Any:
        """Run a verb at the desk with ``--json``, check its exit status, and return the document."""
        done = self.typed(*words, "--json")
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return json.loads(done.stdout)

    def ask(self, path: str, body: Any = None) -> Any:
        """Ask the Prefect API, as the UI does: GET, or POST if there is a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.server.url}/{path}", data, {"Content-Type": "application/json"})
        with self.desk.machine.reached(), _DIRECT.open(request, timeout=60) as answer:
            return json.loads(answer.read())

    def await_state(self, run: str, *names: str) -> dict[str, Any]:
        """Wait until a run is in one of these states, and return it."""

        def there() -> list[dict[str, Any]]:
            found = self.ask(f"flow_runs/{run}")
            ended = found["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
            assert found["state_name"] in names or not ended, found["state"]
            return [found] if found["state_name"] in names else []

        return until(there, 1, f"{' or '.join(names)} of run {run}")[0]

    def runs(self, image_set: str, flow: str) -> list[Any]:
        """Return the runs of a flow that belong to a set, oldest first."""
        wanted = {"tags": {"all_": [f"prestow.set:{image_set}"]}}
        found = self.ask("flow_runs/filter", {"flow_runs": wanted, "flows": {"name": {"any_": [flow]}}})
        return sorted(found, key=lambda run: str(run["created"]))

    def await_workers(self, names: Iterable[str]) -> None:
        """Wait until the workers of these hosts are online."""
        wanted = {*names}

        def online() -> list[Any]:
            workers = self.ask("work_pools/prestow/workers/filter", {})
            return [worker for worker in workers if worker["name"] in wanted and worker["status"] == "ONLINE"]

        until(online, len(wanted), f"the workers of {sorted(wanted)}")

    def lie(self, digest: Digest) -> None:
        """Let the liar send other bytes for a blob, as many."""
        copied = self.liar.data.parent
        if not self.liar.data.exists():
            shutil.copytree(self.registry.data, self.liar.data)
        blob = copied / f"data/docker/registry/v2/blobs/{digest.algorithm}/{digest.encoded[:2]}/{digest.encoded}/data"
        self._damaged[blob] = right = blob.read_bytes()
        blob.write_bytes(right[:-9] + bytes(byte ^ 1 for byte in right[-9:]))

    def tell_the_truth(self) -> None:
        """Let the liar send the right bytes again."""
        for blob, right in self._damaged.items():
            blob.write_bytes(right)


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _plain(folder: Path) -> dict[str, str]:
    """Return the environment of a machine with its home in a folder: none of the tests' own, and no proxies."""
    folder.mkdir(parents=True, exist_ok=True)
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder)}


@contextmanager
def real_fleet(folder: Path, names: Sequence[str]) -> Iterator[Fleet]:
    """Run all but the hosts, whose names are given, and make the deployments."""
    with postgres() as database, network() as net, ExitStack() as registries:

        def registry(name: str) -> tuple[DockerRegistry, Machine]:
            machine = net.machine(name)
            with machine.reached():
                return registries.enter_context(docker_registry(folder / name, host=machine.address)), machine

        def cache(name: str, registry: str) -> Nginx:
            machine, http = net.machine(name), CACHE.format(folder=folder / name)
            with machine.reached():
                running = nginx(folder / name, once(registry), host=machine.address, http=http)
                return registries.enter_context(running)

        def host(name: str, *, on: bool) -> FleetHost:
            own = folder / name
            environment = {
                **_plain(own),
                "PREFECT_API_URL": server.url,
                "PRESTOW_HOME": str(own / "store"),
                "PRESTOW_HOSTS_DIRS": json.dumps([str(own / "certs.d")]),
            }
            made = FleetHost(net.machine(name, on=on), own, environment)
            made.mirrors(origin.domain, origin.domain, mirror.domain)
            return made

        origin, machine = registry("registry")
        mirror = cache("mirror", origin.domain)
        liar, _ = registry("liar")
        server = PrefectServer(net.machine("server", on=False), folder / "server", database)
        server.start()
        desk = host("desk", on=True)
        desk.mirrors(origin.domain, origin.domain)
        hosts = {name: host(name, on=False) for name in names}
        coordinator = host("coordinator", on=False)
        coordinator.environment["PRESTOW_DEPLOYED_FLEETS"] = json.dumps([str(desk.folder)])
        fleet = Fleet(server, origin, machine, mirror, liar, desk, coordinator, hosts)
        fleet.told("deploy")
        yield fleet
