"""The peers that the benchmarks hold prestow against, each started by hand and stopped by its pid.

Everything lies below one folder, a tmpfs where speed and not a disk is measured.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

_DEADLINE = 60.0
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs for the block."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


class Containerd:
    """Debian's containerd with its overlayfs snapshotter, emptied before each pull."""

    def __init__(self, folder: Path) -> None:
        """Keep everything in ``folder``."""
        self.folder = folder
        self.socket = folder / "containerd.sock"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the daemon for the block, on a fresh root."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        config = self.folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{self.socket}"\n'
        )
        with (self.folder / "log").open("wb") as log:
            daemon = subprocess.Popen(["containerd", "--config", config], stdout=log, stderr=log)
        try:
            self._wait()
            yield
        finally:
            daemon.terminate()
            daemon.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _DEADLINE
        while subprocess.run(["ctr", "-a", self.socket, "version"], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"containerd did not start, see {self.folder}/log")
            time.sleep(0.05)

    def pull(self, reference: str, *, sync: bool = False) -> float:
        """Pull and unpack into a fresh root, and give the seconds; with ``sync`` until it is on disk."""
        with self.running():
            began = time.perf_counter()
            command = ["ctr", "-a", self.socket, "images", "pull", "--plain-http", reference]
            subprocess.run(command, check=True, capture_output=True)
            if sync:
                subprocess.run(["sync"], check=True)
            return time.perf_counter() - began


def pipes(reference: str, folder: Path) -> float:
    """Time ``curl | igzip -dc | tar -x`` for each layer, two at a time, checking nothing; the floor for extraction."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    registry, _, rest = reference.partition("/")
    repository, _, tag = rest.rpartition(":")
    base = f"http://{registry}/v2/{repository}"
    with urlopen(Request(f"{base}/manifests/{tag}", headers={"Accept": _MANIFEST})) as answer:
        layers = [layer["digest"] for layer in json.load(answer)["layers"]]
    script = f'mkdir "{folder}/$1" && curl -sf {base}/blobs/$1 | igzip -dc | tar -x -C "{folder}/$1"'
    began = time.perf_counter()
    subprocess.run(
        ["xargs", "-P2", "-I{}", "sh", "-c", script, "sh", "{}"], input="\n".join(layers), text=True, check=True
    )
    return time.perf_counter() - began
