"""Fixtures of the flows' tests: a store, one that has the demo image, and images of other people's tools."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from flows.local_server.ensure import Server
from prestow.containers.create import remove_container
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.store.node import open_node
from tests.containerd import DEBIAN, Containerd, containerd
from tests.image_factory import put_image, tag
from tests.programs import hello
from tests.real_images import real_images
from tests.tar_builder import Tar

__all__ = ["home", "real_images"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[str]:
    """The folder of a new store; whatever containers a test leaves are removed with their mounts."""
    folder = tmp_path / "store"
    yield str(folder)
    if folder.exists():
        node = open_node(str(folder))
        for record in node.containers.list():
            remove_container(node, record.id)
        for snapshotter in node.snapshotters:
            snapshotter.cleanup()
        node.close()
    assert mounts_below(folder) == ()


@pytest.fixture
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Containerd]:
    """A containerd that the host's settings name: Debian's, or one by its programs; in memory, for its overlayfs."""
    with (
        TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder,
        containerd(Path(folder), programs=getattr(request, "param", DEBIAN)) as running,
    ):
        monkeypatch.setenv("PRESTOW_CONTAINERD_ADDRESS", str(running.address))
        yield running


@pytest.fixture(scope="session")
def pulled_store(prefect_server: Server, demo_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as a pull of the demo image leaves it; only to be copied."""
    from flows.pull import pull

    folder = tmp_path_factory.mktemp("pulled") / "store"
    pull(f"oci:{demo_layout}:demo", home=str(folder))
    open_node(str(folder)).close()
    assert mounts_below(folder) == ()
    return folder


@pytest.fixture
def demo(home: str | Path, pulled_store: Path) -> str:
    """The name of the demo image, which is in ``home`` as if it had been pulled there."""
    subprocess.run(["cp", "-a", pulled_store, home], check=True)
    (record,) = open_node(str(home)).images.list()
    return record.name


@pytest.fixture(scope="session")
def waiting_layout(tmp_path_factory: pytest.TempPathFactory, demo_layout: Path) -> Path:
    """A layout with an image, ``waiting``, whose program waits for somebody to write into ``/etc/motd``."""
    layout = tmp_path_factory.mktemp("waiting")
    layer = Tar().directory("bin").directory("etc").file("bin/hello", hello("amd64"), mode=0o755).fifo("etc/motd")
    tag(layout, put_image(layout, [layer.to_bytes()], config={"Entrypoint": ["/bin/hello"]}), "waiting")
    return layout


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference of an image whose command is busybox's shell."""
    layout = tmp_path_factory.mktemp("shell")
    layer = Tar().directory("bin").file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755)
    for name in ("sh", "printf", "sha256sum", "false"):
        layer.symlink(f"bin/{name}", "busybox")
    tag(layout, put_image(layout, [layer.to_bytes()], config={"Cmd": ["/bin/sh"], "Env": ["GONE=image"]}), "shell")
    return f"oci:{layout}:shell"
