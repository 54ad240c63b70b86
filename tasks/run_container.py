"""Step ``run_container``: the container's process, from its start to its exit status."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import prefect.runtime
from prefect.logging import get_run_logger
from prefect.logging.handlers import APILogWorker
from prefect.settings import get_current_settings

from prestow.containers import process as engine
from prestow.digest import Digest
from prestow.runtime.output import Limits, OutputLog
from prestow.runtime.runc import Exit
from prestow.store.node import Node, open_node
from tasks.checkpoint import reached
from tasks.delays import Retries
from tasks.journal import recorded_step
from tasks.policy import step

_PART_BYTES = 16384  # of a line in one record
_GROWTH, _ENVELOPE = 6, 1000  # bytes that Prefect counts for each of ours, at most, and for the rest of a record
_LEAST_PART = 64
_PATIENCE = 15  # seconds, half of those after which a worker kills


@step(lambda container_id: f"run container {container_id}", version=1, retries=Retries(attempts=1))
def run_container(  # noqa: PLR0913 - a container, its streams, and what is not to be recorded of them
    home: str,
    name: str,
    digest: str,
    container_id: str,
    interactive: bool,  # noqa: FBT001 - a step's arguments are told by place
    namespace: str | None = None,
    secrets: tuple[str, ...] = (),
) -> Exit:
    """Run the bundle in the foreground; never retried, since a started container may have done its work.

    The values of the variables that ``secrets`` names are masked in the log, and in the last lines.
    """
    node = open_node(home, namespace)
    stdin = sys.stdin.fileno() if interactive else subprocess.DEVNULL
    reached("running", node, name, Digest.parse(digest))
    with recorded_step("run_container", container_id), _log(node) as output:
        ended = engine.run_bundle(node, container_id, stdin=stdin, output=output, secrets=secrets)
    reached("exited", node, name, Digest.parse(digest))
    return ended


@contextmanager
def _log(node: Node) -> Iterator[OutputLog | None]:
    """Send the process's output to the run's log where a worker runs the flow; elsewhere it has our streams.

    However the block is left, all of it is at the API then: who is cancelled may be killed soon after.
    """
    if prefect.runtime.deployment.id is None:
        yield None
        return
    logger, settings = get_run_logger(), node.settings
    part = min(_PART_BYTES, (get_current_settings().logging.to_api.max_log_size - _ENVELOPE) // _GROWTH)
    limits = Limits(settings.log_lines_per_second, settings.log_bytes, max(part, _LEAST_PART))
    output = OutputLog(lambda line: logger.info("%s", line), lambda text: logger.warning("%s", text), limits)
    try:
        yield output
    finally:
        output.close()
        APILogWorker.drain_all(timeout=_PATIENCE)
