"""A container's process: what happens between the making of a container and its removal.

    run_bundle      the process, to its exit status; what a reboot unmounted is mounted again
    status          what it does just now
    stop            asked by its image's own signal, and killed when the grace is over
    orphans         containers whose run was killed, and what to do about them
    clear_stopped   the runtime forgets it, so that the container can be removed

The runtime keeps its records below ``runtime/``, for each namespace its own.
"""

import logging
import subprocess
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prestow.errors import AlreadyExistsError, NotFoundError, PreconditionError, RuntimeFailedError
from prestow.metadata.namespace import DEFAULT
from prestow.runtime.binary import find_runtime
from prestow.runtime.bundle import ROOTFS, read_spec, running
from prestow.runtime.output import Output
from prestow.runtime.runc import Exit, run_container
from prestow.runtime.state import container_state, delete_container, stop_container
from prestow.snapshots.mounts.mount import mount_all
from prestow.snapshots.mounts.mountinfo import mounted_at
from prestow.store.in_progress import COPY
from prestow.store.node import Node, open_node
from prestow.store.unattended import to_remove

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Orphan:
    """A container whose process goes on, although the run that waited for it was killed.

    Attributes:
        namespace: whose it is.
        id: its name there.
        what: what happened, and what to do.
    """

    namespace: str
    id: str
    what: str


def run_bundle(
    node: Node,
    container_id: str,
    *,
    stdin: int = subprocess.DEVNULL,
    output: Output | None = None,
    secrets: Collection[str] = (),
) -> Exit:
    """Run a container's process until it ends; its root is mounted again if a reboot took it away.

    The others of the arguments are those of :func:`prestow.runtime.runc.run_container`.

    Raises:
        NotFoundError: no such container, or no runtime.
        RuntimeFailedError: the process was not started.
    """
    record = node.containers.get(container_id)
    rootfs = Path(record.bundle) / ROOTFS
    if record.driver != COPY and not mounted_at(rootfs):
        mount_all(node.snapshotter(record.driver).mounts(record.snapshot_key), rootfs)
    runtime = find_runtime(node.settings.runtime)
    state_root = _state_root(node)
    return run_container(
        runtime, Path(record.bundle), container_id, state_root=state_root, stdin=stdin, output=output, secrets=secrets
    )


def status(node: Node, container_id: str) -> str:
    """Return what a container's process does: ``created``, ``running``, ``paused``; ``stopped``, also where none was.

    Raises:
        RuntimeFailedError: the runtime does not run.
    """
    if not (_state_root(node) / container_id).exists():  # most of them, and the runtime need not be asked
        return "stopped"
    try:
        runtime = find_runtime(node.settings.runtime)
    except NotFoundError:  # without a runtime nothing runs
        return "stopped"
    state = container_state(runtime, container_id, state_root=_state_root(node))
    return "stopped" if state is None or state.status == "broken" else state.status


def shown_status(node: Node, container_id: str) -> str:
    """Return the same, but ``orphaned`` of a process that no prestow waits for any more: its runner was killed.

    Raises:
        NotFoundError: no such container.
        RuntimeFailedError: the runtime does not run.
    """
    found = status(node, container_id)
    if found not in {"running", "paused"}:
        return found
    with suppress(NotFoundError):
        return found if _is_run(Path(node.containers.get(container_id).bundle)) else "orphaned"
    return "orphaned"  # without a bundle


def orphans(node: Node) -> tuple[Orphan, ...]:
    """Return the orphaned containers of all namespaces.

    Raises:
        RuntimeFailedError: the runtime does not run.
    """
    every = ((open_node(node.home, each.namespace), each.id) for each in node.containers.every())
    return tuple(
        Orphan(own.namespace, container_id, _advice(own, container_id))
        for own, container_id in every
        if shown_status(own, container_id) == "orphaned"
    )


def orphans_if_known(node: Node) -> tuple[Orphan, ...]:
    """Return the same; none, with a warning, if the runtime does not run: what was asked for is something else."""
    try:
        return orphans(node)
    except RuntimeFailedError as error:
        _log.warning("orphaned containers are not known: %s", error)
        return ()


def stop(node: Node, container_id: str, *, grace_seconds: float) -> bool:
    """End a container's process, by its image's signal or SIGTERM, and by SIGKILL when the grace is over.

    The container stays, and can be run again. Whoever runs it is told the exit status.

    Returns:
        Whether there was one.

    Raises:
        NotFoundError: no such container, or no runtime.
        RuntimeFailedError: the runtime refused, or the process does not end.
    """
    bundle = Path(node.containers.get(container_id).bundle)
    if status(node, container_id) not in {"running", "paused"}:
        return False
    signal = read_spec(bundle).stop_signal
    runtime = find_runtime(node.settings.runtime)
    stop_container(runtime, container_id, state_root=_state_root(node), signal=signal, grace_seconds=grace_seconds)
    return True


def clear_stopped(node: Node, container_id: str) -> None:
    """Have the runtime forget a container whose process has ended.

    Raises:
        PreconditionError: it is running.
        RuntimeFailedError: the runtime could not.
    """
    found = status(node, container_id)
    if found in {"running", "paused"}:
        raise PreconditionError(
            f"container {container_id} is {found}; `prestow containers stop {container_id}` ends its process"
        )
    with suppress(NotFoundError):  # without a runtime there is nothing to forget
        delete_container(find_runtime(node.settings.runtime), container_id, state_root=_state_root(node))


def _state_root(node: Node) -> Path:
    return node.own / "runtime"


def _advice(node: Node, container_id: str) -> str:
    killed = "its run was killed, but its process still runs"
    if container_id in to_remove(node.bundle_folder(container_id).parent):
        return f"{killed}: run `prestow prune`, which ends and removes it, since it was run with --rm"
    option = "" if node.namespace == DEFAULT else f" --namespace {node.namespace}"
    return f"{killed}: end it by `prestow containers stop {container_id}{option}`"


def _is_run(bundle: Path) -> bool:
    """Whether a process holds the bundle for a run of it."""
    try:
        with running(bundle):
            return False
    except AlreadyExistsError:
        return True
