"""Real containers of busybox for tests: a bundle in a folder, run by the runc of this machine."""

import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prestow.runtime.binary import Runtime, find_runtime
from prestow.runtime.bundle import write_bundle
from prestow.runtime.overrides import Overrides
from prestow.runtime.runc import run_container
from tests.runtime.busybox import make_rootfs, make_spec

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from pathlib import Path
from prestow.runtime.binary import find_runtime
from prestow.runtime.runc import run_container
bundle, container_id, state = sys.argv[1:4]
sys.exit(run_container(find_runtime("runc"), Path(bundle), container_id, state_root=Path(state), stdin=0).status)
"""


class Box:
    """A folder with a bundle of busybox, and an id that nobody else uses."""

    def __init__(self, directory: Path) -> None:
        """Make the root; the bundle follows by :meth:`bundle`."""
        self.directory = directory / "bundle"
        self.state_root = directory / "state"
        self.container_id = f"test-{secrets.token_hex(6)}"
        self.runtime: Runtime = find_runtime("runc")
        directory.joinpath("bundle").mkdir(mode=0o700)
        self.rootfs = make_rootfs(self.directory / "rootfs")

    def bundle(
        self, command: Sequence[str], config: dict[str, Any] | None = None, overrides: Overrides | None = None
    ) -> Path:
        """Write the bundle of a container that runs ``command``, anew each time."""
        (self.directory / "config.json").unlink(missing_ok=True)
        spec = make_spec(self.rootfs, {**(config or {}), "Cmd": list(command)}, overrides)
        return write_bundle(spec, self.directory, rootfs="filled").directory

    def run(self, *command: str, config: dict[str, Any] | None = None, overrides: Overrides | None = None) -> str:
        """Run a command that must succeed, and give what it wrote."""
        status, text = self.try_(*command, config=config, overrides=overrides)
        assert status == 0, text
        return text

    def try_(
        self, *command: str, config: dict[str, Any] | None = None, overrides: Overrides | None = None
    ) -> tuple[int, str]:
        """Run a command, and give its status and what it wrote."""
        self.bundle(command, config, overrides)
        pieces: list[bytes] = []
        done = run_container(
            self.runtime, self.directory, self.container_id, state_root=self.state_root, output=pieces.append
        )
        return done.status, b"".join(pieces).decode()

    def start(self, **streams: Any) -> "subprocess.Popen[bytes]":
        """Run the bundle from another Python, whose standard streams the container gets."""
        command = [sys.executable, "-c", SCRIPT, self.directory, self.container_id, self.state_root]
        return subprocess.Popen([str(word) for word in command], cwd=ROOT, **streams)

    def leftovers(self) -> list[Path]:
        """List what a container has left in the runtime's records and in the control groups."""
        groups = Path("/sys/fs/cgroup").glob(f"*/**/{self.container_id}")
        return [*self.state_root.glob("*"), *groups]
