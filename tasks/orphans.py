"""Orphaned containers, in the log of a run: nobody may look at the terminal or the result of one on a schedule."""

from collections.abc import Iterable

from prefect.logging import get_run_logger

from prestow.process import Orphan


def log_orphans(orphaned: Iterable[Orphan]) -> None:
    """Add a warning for each."""
    for each in orphaned:
        get_run_logger().warning("container %s/%s: %s", each.namespace, each.id, each.what)
