"""Warnings of orphaned containers in the log of a run, which is where a scheduled run is looked at."""

from collections.abc import Iterable

from prefect.logging import get_run_logger

from prestow.containers.process import Orphan


def log_orphans(orphaned: Iterable[Orphan]) -> None:
    """Log a warning for each."""
    for each in orphaned:
        get_run_logger().warning("container %s/%s: %s", each.namespace, each.id, each.what)
