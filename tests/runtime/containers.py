"""Real containers of busybox for tests: a bundle in a folder, run by the runc of this machine."""

import os
import secrets
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from prestow.cancellation import Token, watched
from prestow.runtime.binary import Runtime, find_runtime
from prestow.runtime.bundle import write_bundle
from prestow.runtime.overrides import Overrides
from prestow.runtime.runc import Exit, run_container
from prestow.runtime.state import State, container_state
from tests.processes import Child
from tests.runtime.busybox import make_rootfs, make_spec

WAIT = "trap 'exit 3' TERM; echo ready; sleep 1000 & wait"
"""A script that says so when it has started, and ends when it is asked to."""

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
            self.runtime,
            self.directory,
            self.container_id,
            state_root=self.state_root,
            output=lambda piece, _: pieces.append(piece),
        )
        return done.status, b"".join(pieces).decode()

    def start(self, **streams: Any) -> Child[bytes]:
        """Run the bundle from another Python, whose standard streams the container gets."""
        command = [sys.executable, "-c", SCRIPT, self.directory, self.container_id, self.state_root]
        return Child([str(word) for word in command], cwd=ROOT, **streams)

    def state(self) -> State | None:
        """Ask the runtime what the container does."""
        return container_state(self.runtime, self.container_id, state_root=self.state_root)

    def leftovers(self) -> list[Path]:
        """List what a container has left in the runtime's records and in the control groups."""
        # not Path.glob, which fails when a group that it has listed ends
        folders = (Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup"))
        groups = [folder for folder in folders if folder.name == self.container_id]
        return [*self.state_root.glob("*"), *groups]


class Background:
    """A container that runs in another thread until it is stopped."""

    def __init__(self, box: Box, script: str, config: dict[str, Any] | None = None) -> None:
        """Start it, and wait until it says so."""
        self.box, self.results, self.lines = box, SimpleQueue[Exit | BaseException](), SimpleQueue[bytes]()
        self.token = Token()
        box.bundle(["sh", "-c", script], config)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.lines.get(timeout=60) == b"ready\n"

    def _run(self) -> None:
        box = self.box
        try:
            with watched(self.token):
                done = run_container(
                    box.runtime,
                    box.directory,
                    box.container_id,
                    state_root=box.state_root,
                    output=lambda piece, _: self.lines.put(piece),
                )
            self.results.put(done)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.results.put(error)

    def result(self) -> Exit | BaseException:
        """Return how it ended."""
        self.thread.join(timeout=60)
        return self.results.get(timeout=60)

    def said(self) -> bytes:
        """Return what it wrote since it was ready; once it has ended."""
        return b"".join(self.lines.get_nowait() for _ in range(self.lines.qsize()))
