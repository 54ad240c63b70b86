"""Containers as the runtime knows them: ask, signal, stop, delete (runtime-spec, runtime.md, "Operations").

Any thread and any process may call these; none of them is needed where
:func:`~prestow.runtime.runc.run_container` runs undisturbed.
"""

import json
import os
import select
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM, pidfd_send_signal

from prestow.errors import RuntimeFailedError, printable
from prestow.runtime.binary import Runtime, ask
from prestow.runtime.bundle import check_container_id
from prestow.runtime.signals import signal_number

_DEADLINE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class State:
    """What a runtime knows of a container (runtime-spec, runtime.md, "State").

    Attributes:
        status: ``created``, ``running``, ``stopped``, ``paused``; ``broken`` where its record cannot be read.
        pid: of the container's first process, 0 where there is none.
    """

    status: str
    pid: int

    @property
    def alive(self) -> bool:
        """Whether its process was started and has not ended."""
        return self.status in {"running", "paused"}


def container_state(runtime: Runtime, container_id: str, *, state_root: Path) -> State | None:
    """Ask what a container does; None where the runtime knows of none.

    Raises:
        InvalidError: the id is not one.
        RuntimeFailedError: the runtime does not run.
    """
    record = state_root / check_container_id(container_id)
    if not record.exists():
        return None
    done = _call(runtime, state_root, "state", "--", container_id)
    try:
        found = json.loads(done.stdout)
        return State(str(found["status"]), int(found.get("pid", 0)))
    except (ValueError, TypeError, KeyError, AttributeError):
        return State("broken", 0) if record.exists() else None


def stop_container(
    runtime: Runtime, container_id: str, *, state_root: Path, signal: str = "", grace_seconds: float = 10
) -> None:
    """Ask a container's process to end, by ``signal`` or SIGTERM, and kill it when the grace is over.

    Returns once the process is gone; success where there is none. Whatever fails before, it comes to SIGKILL.

    Raises:
        InvalidError: the id is not one.
        RuntimeFailedError: the runtime does not run, or the process does not end.
    """
    state = container_state(runtime, container_id, state_root=state_root)
    if state is None or not state.alive:
        return
    try:
        handle = os.pidfd_open(state.pid)
    except ProcessLookupError:
        return
    try:
        now = container_state(runtime, container_id, state_root=state_root)
        if now is None or now.pid != state.pid:  # it has ended meanwhile, and the number may be another's
            return
        if now.status == "paused":  # a frozen process takes no signal
            _call(runtime, state_root, "resume", "--", container_id)
        for number, seconds in ((signal_number(signal) or SIGTERM, grace_seconds), (SIGKILL, _DEADLINE_SECONDS)):
            with suppress(OSError):
                pidfd_send_signal(handle, number)
            if select.select([handle], [], [], seconds)[0]:
                return
    finally:
        os.close(handle)
    raise RuntimeFailedError(f"container {container_id}: process {state.pid} does not end, not even by SIGKILL")


def delete_container(runtime: Runtime, container_id: str, *, state_root: Path) -> None:
    """Kill what is left of a container and forget it; success where there is none.

    Raises:
        InvalidError: the id is not one.
        RuntimeFailedError: the runtime could not.
    """
    record = state_root / check_container_id(container_id)
    if not record.exists():
        return
    done = _call(runtime, state_root, "delete", "--force", "--", container_id)
    if done.returncode == 0 or not record.exists():
        return
    if _is_cut_off(record):  # runtimes sync no record: a power cut leaves an empty one, which they cannot delete
        shutil.rmtree(record, ignore_errors=True)
    if record.exists():
        raise RuntimeFailedError(f"container {container_id}: it cannot be deleted: {printable(done.stderr.strip())}")


def _is_cut_off(record: Path) -> bool:
    """Whether the JSON file in which runc (``state.json``) or crun (``status``) keeps a container was cut off."""
    with suppress(OSError):
        for path in (record / "state.json", record / "status"):
            if path.exists():
                try:
                    json.loads(path.read_bytes())
                except ValueError:
                    return True
    return False


def _call(runtime: Runtime, state_root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return ask(runtime.binary, "--root", str(state_root.absolute()), *arguments)
