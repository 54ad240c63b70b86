"""``make demo-fleet``: three hosts, from nothing to all images on all of them, with the commands a person would type.

The hosts are processes on this machine, each with a store of its own; images and Prefect's server are those of
``make demo``: on loopback, and gone at the end. It needs no root.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from tests.demo import PRESTOW, served
from tests.image_factory import write_demo_image

_HOSTS = ("h1", "h2", "h3")
_IMAGES = {"app:1": "gzip", "tool:1.4": "zstd"}
"""Images, and how their layers are compressed: a host that has unpacked one fetches no layer of the other."""
_POLLED = {"PREFECT_WORKER_QUERY_SECONDS": "1"}  # three hosts may ask the server more often than a thousand
_PATIENCE = 300  # seconds that a host has to come up


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
        _write(folder / "fleet.yaml", [f"{address}/{image}" for image in _IMAGES])
        _typed("deploy")
        server = json.loads(_answer("server", "env", "--json"))
        logs = [around.enter_context(_host(folder, host, server)) for host in _HOSTS]
        _wait(logs)
        for verb in ("lock", "plan", "apply"):
            _typed("fleet", verb)
        return _typed("fleet", "status")


def _write(path: Path, images: list[str]) -> None:
    """Write and show a fleet file: all hosts whose workers the pool knows, one of them first."""
    document = {"hosts": [{"workers": True}], "sets": {"demo": {"images": images, "rollout": {"waves": [1]}}}}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    print(f"$ cat {path}\n{path.read_text()}", flush=True)


@contextmanager
def _host(folder: Path, name: str, server: Mapping[str, str]) -> Iterator[Path]:
    """Run a host for the block, with its own store, at the demo's server; yield the file with what it says."""
    home, said = folder / name, folder / f"{name}.log"
    print(f"$ PRESTOW_HOME={home} prestow node up --name {name} &", flush=True)
    environment = {**os.environ, **server, **_POLLED, "PRESTOW_HOME": str(home)}
    with said.open("wb") as log:
        command = [*PRESTOW, "node", "up", "--name", name]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield said
    finally:
        process.terminate()
        process.wait()
        _stop(home)


def _wait(logs: list[Path]) -> None:
    """Wait until the pool knows the workers of all hosts."""
    begin = time.monotonic()
    while not all(host in _answer("fleet", "hosts") for host in _HOSTS):
        if time.monotonic() - begin > _PATIENCE:
            sys.exit("\n".join(["a host did not come up", *(log.read_text() for log in logs)]))


def _answer(*words: str) -> str:
    """Return what a verb prints, nothing if it fails."""
    return subprocess.run([*PRESTOW, *words], capture_output=True, text=True, check=False).stdout


def _typed(*words: str) -> int:
    print("\n$ prestow", *words, flush=True)
    return subprocess.run([*PRESTOW, *words], check=False).returncode


def _stop(home: Path) -> None:
    """End what verbs leave running for the next one."""
    for verb in ("warm", "server"):
        _answer("--home", str(home), verb, "stop")


if __name__ == "__main__":
    sys.exit(main())
