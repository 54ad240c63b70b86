"""Step ``run_container``: the container's process, from its start to its exit status."""

import subprocess
import sys
from collections.abc import Callable

import prefect.runtime
from prefect.logging import get_run_logger

from prestow import process as engine
from prestow.digest import Digest
from prestow.errors import printable
from prestow.node import open_node
from prestow.runtime.runc import Exit
from tasks.checkpoint import reached
from tasks.journal import noted
from tasks.policy import step
from tasks.retries import Retries


@step(lambda container_id: f"run container {container_id}", version=1, retries=Retries(attempts=1))
def run_container(
    home: str,
    name: str,
    digest: str,
    container_id: str,
    interactive: bool,  # noqa: FBT001 - a step's arguments are told by place
    namespace: str | None = None,
) -> Exit:
    """Run the bundle in the foreground; never retried, since a started container may have done its work."""
    node = open_node(home, namespace)
    stdin = sys.stdin.fileno() if interactive else subprocess.DEVNULL
    reached("running", node, name, Digest.parse(digest))
    with noted("run_container", container_id):
        ended = engine.run_bundle(node, container_id, stdin=stdin, output=_log())
    reached("exited", node, name, Digest.parse(digest))
    return ended


def _log() -> Callable[[bytes], None] | None:
    """Send the process's output to the run's log where a worker runs the flow; elsewhere it has our streams."""
    if prefect.runtime.deployment.id is None:
        return None
    logger = get_run_logger()
    return lambda piece: logger.info("%s", printable(piece.rstrip(b"\n"), len(piece)))
