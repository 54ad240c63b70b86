"""Fixtures of the registry's tests: a source, and a store to fetch into."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.reference import Reference
from prestow.registry.hosts import Options
from prestow.registry.source import Source, Sources
from tests.registries import FaultRegistry


@pytest.fixture
def content(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "content", tmp_path / "ingest", durable=False)


@pytest.fixture
def sources() -> Iterator[Sources]:
    with Sources(Options()) as opened:
        yield opened


@pytest.fixture
def remote(fault_registry: FaultRegistry, sources: Sources) -> Source:
    return sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo"))


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[Path]:
    """A containerd of the test's own; gives its socket."""
    short = tempfile.TemporaryDirectory(prefix="ctr-")  # a socket's path has at most 106 bytes
    address = Path(short.name) / "sock"
    config = tmp_path / "containerd.toml"
    settings = {"root": tmp_path / "root", "state": tmp_path / "state"}
    lines = ["version = 2", 'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]']
    lines += [f'{key} = "{value}"' for key, value in settings.items()]
    lines += ["[grpc]", f'address = "{address}"', "[ttrpc]", f'address = "{address}.ttrpc"']
    config.write_text("\n".join(lines))
    with (tmp_path / "containerd.log").open("wb") as log:
        process = subprocess.Popen(["containerd", "-c", config], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(["ctr", "-a", address, "version"], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)
        short.cleanup()
