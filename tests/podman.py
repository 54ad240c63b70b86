"""A podman of its own for tests: its storage in one directory, and prestow's image store beside that."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prestow.snapshots.mounts.mountinfo import mounts_below

STATUS = 42
"""With which the program of ``tests.programs`` is told to end."""
_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/graph"
runroot = "{run}"
[storage.options]
{line}
"""
_CONTAINERS = """
[containers]
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
tmp_dir = "{folder}/tmp"
"""


@dataclass(frozen=True)
class Podman:
    """podman, with storage of its own.

    Attributes:
        folder: of its storage and its configuration.
        store: prestow's image store, which need not be there.
        run: what it has while containers run. Where that path has more than 50 characters, each container's clean-up
            fails, and `podman run` waits 20 seconds for it.
    """

    folder: Path
    store: Path
    run: Path

    @property
    def environment(self) -> dict[str, str]:
        """What names its configuration."""
        return {
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
        }

    def configure(self, *, additional: bool) -> None:
        """Write its configuration, with or without the line that names prestow's image store."""
        line = f'additionalimagestores = ["{self.store}"]' if additional else ""
        (self.folder / "storage.conf").write_text(_STORAGE.format(folder=self.folder, run=self.run, line=line))
        (self.folder / "containers.conf").write_text(_CONTAINERS.format(folder=self.folder))

    def call(self, *words: str, status: int = 0) -> str:
        """Call it, and return what it prints."""
        done = self.done(*words)
        assert done.returncode == status, done.stderr
        return done.stdout

    def done(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Call it."""
        env = {**os.environ, **self.environment}
        return subprocess.run(["podman", *words], env=env, capture_output=True, text=True, check=False)

    def runs(self, image: str) -> bool:
        """Whether a container of an image runs the program of ``tests.programs``, which ends as it is told."""
        return self.done("run", "--rm", image, "/bin/hello", str(STATUS)).returncode == STATUS

    def reboot(self, home: Path) -> None:
        """Take down all mounts of a store, as a boot leaves it."""
        for mount in reversed(mounts_below(home)):
            subprocess.run(["umount", mount.path], check=True)


@contextmanager
def podman(folder: Path, store: Path) -> Iterator[Podman]:
    """Have a podman for as long as the block lasts.

    Args:
        folder: of its storage.
        store: prestow's image store, which its configuration names.
    """
    folder.mkdir(parents=True)
    with TemporaryDirectory(prefix="run-") as run:
        found = Podman(folder, store, Path(run))
        found.configure(additional=True)
        try:
            yield found
        finally:
            for mount in (*reversed(mounts_below(folder)), *reversed(mounts_below(found.run))):  # of its storage driver
                subprocess.run(["umount", "--lazy", mount.path], check=True)
