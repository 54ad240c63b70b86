"""``make screenshots``: the pages of Prefect's UI that ``docs/`` shows, from a real browser, over real runs.

A registry on loopback has three small images; a store, as of a host ``gpu-01``, and its Prefect server are removed
afterwards.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.local_server.record import Server, status
from tests.chromium import Browser, chromium
from tests.demo import PRESTOW
from tests.hosts_files import write_hosts
from tests.image_factory import write_image
from tests.prefect_records import client, until
from tests.registries import FaultRegistry
from tests.tar_builder import Tar

IMAGES = Path(__file__).parents[1] / "docs" / "images"
REGISTRY = "registry.example"
NAMES = ("team/app:2", "team/base:12", "team/trainer:0.9")
_SIZES = (3 << 20, 700 << 10, 40 << 10)  # bytes of the layers of an image
_CONFIG = {
    "Entrypoint": ["/usr/bin/app", "serve"],
    "Env": ["PATH=/usr/bin:/bin", "MODEL=/srv/model"],
    "User": "1000",
    "WorkingDir": "/srv",
    "Labels": {"org.opencontainers.image.vendor": "Example", "org.opencontainers.image.version": "2"},
}


def main() -> int:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prestow-screenshots-") as scratch, host(Path(scratch)) as home:
        names = [f"{REGISTRY}/{name}" for name in NAMES]
        _prestow("deploy")
        _prestow("prepull", *names[1:], f"{REGISTRY}/team/absent:1", expected=1)
        _prestow("pull", names[0])
        server = status(home)
        assert server is not None
        with chromium() as browser:
            browser.log_in(server.auth)
            runs(browser, server)
            form(browser, server)
            approval(browser, server, names[0])
    for picture in sorted(IMAGES.glob("*.webp")):
        print(f"{picture.relative_to(IMAGES.parents[1])}: {picture.stat().st_size >> 10} KiB")
    return 0


@contextmanager
def host(scratch: Path) -> Iterator[Path]:
    """Yield the store of a host to which the registry's name leads; its processes end with the block."""
    home, dice = scratch / "store", random.Random(16)
    for name in NAMES:
        layers = [Tar().directory("srv").file(f"srv/{size}", dice.randbytes(size)).to_bytes() for size in _SIZES]
        write_image(scratch / "layout", layers, config=_CONFIG, ref=name.rpartition(":")[2])
    with FaultRegistry(scratch / "layout") as registry:
        write_hosts(scratch / "hosts", REGISTRY, f'server = "http://{registry.domain}"\n')
        os.environ |= {
            "PRESTOW_HOME": str(home),
            "PRESTOW_NODE_NAME": "gpu-01",
            "PRESTOW_HOSTS_DIRS": json.dumps([str(scratch / "hosts")]),
        }
        try:
            yield home
        finally:
            for verb in ("warm", "server"):
                _prestow(verb, "stop")


def runs(browser: Browser, server: Server) -> None:
    """Take the pages of a pre-pull and of a pull, and its table."""
    for flow, shown, name in (
        ("prepull", ["prepull gpu-01 · 3 images", "not here"], "prepull-run"),
        ("pull", [f"pull {REGISTRY}/{NAMES[0]}", "done: "], "pull-run"),
    ):
        browser.open(f"{_ui(server)}/runs/flow-run/{_run(server, flow)}", *shown)
        _take(browser, name, height=900)
    browser.open(f"{_ui(server)}/artifacts/artifact/{_table(server)}", "fetched or reused")
    _take(browser, "pull-artifact", height=500)


def form(browser: Browser, server: Server) -> None:
    """Take the form of a pull."""
    with client(server) as api:
        deployment = api.read_deployment_by_name("pull/pull").id
    browser.open(f"{_ui(server)}/deployments/deployment/{deployment}/run", "Stop after", "Namespace")
    _take(browser, "pull-form", height=2150)


def approval(browser: Browser, server: Server, image: str) -> None:
    """Take the form of a run that is held."""
    command = [*PRESTOW, "pull", "--hold-after", "manifest-stored", "--name", "held/app:2", image]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as pull:
        try:
            run = until(lambda: _held(server), 1, "a held run")[0]
            browser.open(f"{_ui(server)}/runs/flow-run/{run}", "Paused")
            browser.click("Resume")
            browser.wait("Decision", "labels")
            _take(browser, "approval")
        finally:
            pull.terminate()


def _held(server: Server) -> list[str]:
    with client(server) as api:
        return [str(run.id) for run in api.read_flow_runs() if run.state_name == "Paused"]


def _table(server: Server) -> str:
    """Return the ID of the table of the latest pull."""
    with client(server) as api:
        tables = [found for found in api.read_artifacts() if found.type == "table"]
    return str(max(tables, key=lambda found: str(found.created)).id)


def _run(server: Server, flow: str) -> str:
    """Return the ID of the latest run of a flow that is no part of another."""
    with client(server) as api:
        found = [run for run in api.read_flow_runs() if run.name.startswith(f"{flow} ") and not run.parent_task_run_id]
    return str(max(found, key=lambda run: str(run.start_time)).id)


def _ui(server: Server) -> str:
    return server.url.removesuffix("/api")


def _take(browser: Browser, name: str, height: int = 800) -> None:
    (IMAGES / f"{name}.webp").write_bytes(browser.picture(1280, height))


def _prestow(*words: str, expected: int = 0) -> None:
    done = subprocess.run([*PRESTOW, *words], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == expected, (words, done.returncode)


if __name__ == "__main__":
    sys.exit(main())
