"""``make demo-fleet``: three hosts, from nothing to all images on all of them, with the commands a person would type.

The hosts are processes on this machine, each with a store of its own; images and Prefect's server are those of
``make demo``: on loopback, and gone at the end. It needs no root.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from tests.demo import PRESTOW, served
from tests.image_factory import write_demo_image

_HOSTS = ("h1", "h2", "h3")
_IMAGES = {"app:1": "gzip", "tool:1.4": "zstd"}
"""Images, and how their layers are compressed: a host that has unpacked one fetches no layer of the other."""


def main() -> int:
    """Do it, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="prestow-demo-") as scratch, ExitStack() as around:
        folder = Path(scratch)
        os.environ["PRESTOW_HOME"] = str(folder / "store")
        os.environ["PRESTOW_FLEET"] = str(folder / "fleet.yaml")
        for image, compression in _IMAGES.items():
            write_demo_image(folder / "layout", ref=image, compression=compression)
        around.callback(_stop, folder / "store")
        address = around.enter_context(served(folder / "layout"))
        (folder / "fleet.yaml").write_text(_fleet_file(address))
        _typed("deploy")
        for host in _HOSTS:
            around.enter_context(_host(folder, host))
        _typed("fleet", "lock")
        _typed("fleet", "plan")
        _typed("fleet", "apply")
        return _typed("fleet", "status")


def _fleet_file(address: str) -> str:
    """Return a fleet file: one host first, then the others."""
    images = [f"{address}/{image}" for image in _IMAGES]
    document = {
        "hosts": [{"name": host} for host in _HOSTS],
        "sets": {"demo": {"images": images, "rollout": {"waves": [1]}}},
    }
    return yaml.safe_dump(document, sort_keys=False)


@contextmanager
def _host(folder: Path, name: str) -> Iterator[None]:
    """Run a host for the block, with its own store, at the server of the demo's."""
    home = folder / name
    print(f"$ PRESTOW_HOME={home} prestow node up --name {name} &", flush=True)
    with (folder / f"{name}.log").open("wb") as log:
        command = [*PRESTOW, "node", "up", "--name", name]
        environment = {**os.environ, **_server(), "PRESTOW_HOME": str(home)}
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
            try:
                yield
            finally:
                process.terminate()
                process.wait()
                _stop(home)


def _server() -> dict[str, str]:
    """Return the variables by which hosts find the demo's server."""
    found = subprocess.run([*PRESTOW, "server", "env", "--json"], stdout=subprocess.PIPE, check=True)
    variables: dict[str, str] = json.loads(found.stdout)
    return variables


def _typed(*words: str) -> int:
    print("\n$ prestow", *words, flush=True)
    return subprocess.run([*PRESTOW, *words], check=False).returncode


def _stop(home: Path) -> None:
    """End what verbs leave running for the next one."""
    for verb in ("warm", "server"):
        command = [*PRESTOW, "--home", str(home), verb, "stop"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    sys.exit(main())
