"""Recovery: what dead processes left is finished or removed, before anything new is begun.

    metadata.db                   rebuilt, if its log was removed
    trash/  ingest/  content/     removals finished; what was to replace a file, or never got its data, removed
    prefect/                      drafts of records of steps and runs removed
    content/index.json            written, if a process died between a name and that
    snapshots/                    what no row names; shared mounts without use; attempts of the probe
    looks/                        views without use, with their mounts
    bundles/.underway/            containers that were being made or ended
    bundles/.running/             containers to be removed after their run, whose runner was killed: ended and removed

Whose something is, its lock or its name says (``content/lock.py``, ``content/process_identity.py``); what is mounted,
the kernel. As a rule there is nothing, and to find that out takes a few listings of what is underway, however much the
store has, and nothing is written; only once in each boot, and for the whole, each snapshot is looked at. What cannot be
removed now is told in the log and waits for the next time: it never stops the command.
Downloads that were cut off, and whatever a lease holds, are not rubbish: they are gone on with.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from prestow.content.disk import remove_abandoned, translated
from prestow.content.local import LocalStore
from prestow.errors import PrestowError
from prestow.metadata.containers import Containers
from prestow.metadata.database import Database
from prestow.metadata.namespace import DEFAULT
from prestow.metadata.publish import catch_up
from prestow.runtime.binary import Runtime, find_runtime
from prestow.snapshots.drivers.probe import end_probes
from prestow.snapshots.maintained import Maintained
from prestow.snapshots.remove import empty_trash
from prestow.snapshots.root_view import abandoned, begun, end_look
from prestow.store.in_progress import finish, notes
from prestow.store.rebuild import has_lost_its_log
from prestow.store.unattended import end, to_remove

_log = logging.getLogger(__name__)


def recover(
    home: Path,
    content: LocalStore,
    database: Database,
    snapshotters: Sequence[Maintained],
    runtime: Callable[[], Runtime] = find_runtime,
    *,
    whole: bool = False,
) -> None:
    """Put a store in order.

    Args:
        home: its folder.
        content: its blobs.
        database: its names, of all namespaces.
        snapshotters: its drivers.
        runtime: finds what ends containers.
        whole: whether to look at each snapshot, and not only where a process was at work or a boot ended.
    """
    with _log_failures(database.path):  # until that is known, nothing is rubbish
        if has_lost_its_log(home, database):
            database.rebuild("its log was removed: a file in containers records one that it does not know")
        _tidy(home, content, database, snapshotters, runtime, whole=whole)


def _tidy(
    home: Path,
    content: LocalStore,
    database: Database,
    snapshotters: Sequence[Maintained],
    runtime: Callable[[], Runtime],
    *,
    whole: bool,
) -> None:
    with _log_failures(home):
        _remove_files(home)
    with _log_failures(home / "content/index.json"):
        catch_up(database, content)
    with _log_failures(home / "looks"):
        _end_looks(home / "looks", database, snapshotters)
    for namespace, bundles in _bundles(home):
        with _log_failures(bundles):
            _end_containers(bundles, Containers(database, namespace), snapshotters, runtime)
            _finish_containers(bundles, Containers(database, namespace), snapshotters)
    for driver in snapshotters:
        with _log_failures(home / "snapshots" / driver.driver):
            if driver.seems_untidy(whole=whole):
                driver.cleanup()
    with _log_failures(home / "trash"):
        content.tidy()
        empty_trash(home / "trash")


@contextmanager
def _log_failures(where: Path) -> Iterator[None]:
    try:
        yield
    except PrestowError as error:
        _log.warning("tidying %s: %s", where, error)


def _remove_files(home: Path) -> None:
    with translated(f"tidying {home}"):
        remove_abandoned(home)
        remove_abandoned(home / "snapshots")
        remove_abandoned(home / "prefect")  # drafts of records of steps and runs
    if (home / "snapshots").is_dir():
        end_probes(home / "snapshots")


def _end_looks(looks: Path, database: Database, snapshotters: Sequence[Maintained]) -> None:
    keys = set(begun(database, [driver.driver for driver in snapshotters]))
    if looks.is_dir():
        with translated(f"listing {looks}"):
            keys |= {path.name for path in looks.iterdir()}
    for key in abandoned(keys):
        end_look(snapshotters, key, looks)


def _bundles(home: Path) -> list[tuple[str, Path]]:
    """Return the folders of all namespaces' bundles."""
    others = home / "namespaces"
    with _log_failures(others), translated(f"listing {others}"), suppress(FileNotFoundError):
        return [(DEFAULT, home / "bundles"), *((path.name, path / "bundles") for path in sorted(others.iterdir()))]
    return [(DEFAULT, home / "bundles")]


def _finish_containers(bundles: Path, containers: Containers, snapshotters: Sequence[Maintained]) -> None:
    for container_id in notes(bundles):
        with _log_failures(bundles / container_id):
            finish(bundles, container_id, containers, snapshotters)


def _end_containers(
    bundles: Path, containers: Containers, snapshotters: Sequence[Maintained], runtime: Callable[[], Runtime]
) -> None:
    for container_id in to_remove(bundles):
        with _log_failures(bundles / container_id):
            if end(bundles, container_id, containers, snapshotters, runtime) is not None:
                _log.warning("container %s: its run was killed, so it was ended and removed now", container_id)
