"""A containerd of its own for tests: its files in one folder, its socket in another, with CRI on it."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from prestow.errors import UnavailableError
from prestow.handover.containerd.client import Client
from prestow.snapshots.mounts.mountinfo import mounts_below
from tests.processes import Child

DEBIAN = Path("/usr/bin")
"""Where Debian's package has the programs: containerd 1.6, which applies layers itself."""
NEWER = "PRESTOW_TEST_CONTAINERD"
"""Variable that names a folder with the programs of containerd 2.3.4 or later, whose snapshots can be linked."""
PAUSE = "registry.example/pause:1"

_READY = 60.0
_STATUS = 42
_CONFIG = """
version = {version}
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [{disabled}]
[grpc]
  address = "{socket}"
"""
_CRI_OLD = """
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/certs.d"
"""
_CRI = """
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{folder}/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/amd64"
  snapshotter = "{snapshotter}"
  differ = "walking"
[plugins."io.containerd.service.v1.diff-service"]
  default = ["walking"]
"""
_DISABLED = ("btrfs", "zfs", "devmapper", "aufs", "blockfile")


@dataclass
class Containerd:
    """A running containerd.

    Attributes:
        programs: folder of its programs.
        folder: its files.
        address: its socket.
        process: the daemon.
    """

    programs: Path
    folder: Path
    address: Path
    process: Child[bytes]

    def ctr(self, *words: str, namespace: str = "k8s.io", check: bool = True) -> str:
        """Call containerd's own client, and return what it prints."""
        command = [self.programs / "ctr", "--address", self.address, "--namespace", namespace, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def forget_images(self) -> None:
        """Remove all images, as kubelet does, and wait for the garbage collection."""
        for name in self.ctr("images", "ls", "-q").split():
            self.ctr("images", "rm", "--sync", name)

    def runs(self, snapshotter: str, image: str) -> bool:
        """Whether a container of an image runs the program of ``tests.programs``, which ends as it is told.

        What it prints is not looked at: `ctr` loses that now and then. runc's IDs are those of the whole machine.
        """
        words = ["run", "--rm", "--snapshotter", snapshotter, image, f"box-{uuid4().hex}", "/bin/hello", str(_STATUS)]
        command = [self.programs / "ctr", "--address", self.address, "--namespace", "k8s.io", *words]
        return subprocess.run(command, capture_output=True, check=False).returncode == _STATUS

    def client(self, namespace: str = "k8s.io") -> Client:
        """Return a client of our own."""
        return Client(self.address, namespace)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the settings of prestow that name this containerd."""
        return {"PRESTOW_CONTAINERD_ADDRESS": str(self.address), **more}

    @property
    def blobs(self) -> Path:
        """Folder of its blobs."""
        return self.folder / "root/io.containerd.content.v1.content/blobs/sha256"


@contextmanager
def containerd(
    folder: Path, *, snapshotter: str = "overlayfs", programs: Path = DEBIAN, more: str = ""
) -> Iterator[Containerd]:
    """Run a containerd for as long as the block lasts.

    Args:
        folder: of its files; what is there already is used again.
        snapshotter: which CRI uses.
        programs: folder of containerd's programs.
        more: of its configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="prestow-ctrd-") as short, _notified(Path(short)) as (notify, ready):
        address = Path(short, "sock")
        old = programs == DEBIAN
        config = (_CONFIG + (_CRI_OLD if old else _CRI) + more).format(
            version=2 if old else 3, folder=folder, socket=address, pause=PAUSE, snapshotter=snapshotter,
            disabled=", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in _DISABLED),
        )  # fmt: skip
        (folder / "config.toml").write_text(config)
        environment = {**os.environ, "NOTIFY_SOCKET": str(notify), "PATH": f"{programs}:{os.environ['PATH']}"}
        with (folder / "log").open("ab") as log:
            process = Child[bytes](
                [programs / "containerd", "--config", folder / "config.toml"],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        with process:
            try:
                assert ready(), (folder / "log").read_text()[-2000:]
                running = Containerd(programs, folder, address, process)
                _wait_for_cri(running)
                yield running
            finally:
                process.terminate()
                process.wait()
                for mount in reversed(mounts_below(folder)):  # those of what a test left
                    subprocess.run(["umount", "--lazy", mount.path], check=True)


def _wait_for_cri(running: Containerd) -> None:
    """Ask CRI until it answers: containerd says that it is ready before CRI is."""
    client, until = running.client(), time.monotonic() + _READY
    while True:
        try:
            client.call("Cri.ListImages")
        except UnavailableError:
            assert time.monotonic() < until, (running.folder / "log").read_text()[-2000:]
        else:
            break
    client.close()


@contextmanager
def _notified(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yield a socket to which a daemon sends, as to systemd, that it is ready; and what waits for that."""
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(_READY)

        def ready() -> bool:
            try:
                while b"READY=1" not in listener.recv(4096):
                    pass
            except TimeoutError:
                return False
            return True

        yield path, ready
