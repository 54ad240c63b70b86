"""Prune: free what nothing holds, and remove names by the rules of retention; on a full disk too."""

from dataclasses import dataclass

from prestow.containers.process import Orphan, orphans_if_known
from prestow.gc.collect import Rules, Swept, sweep
from prestow.gc.retention import Retention
from prestow.store.node import Node

_DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for one prune, in place of the host's settings; None leaves it to them.

    Attributes:
        keep_generations: how many earlier targets of each name stay.
        unused_days: days after which an unused name goes.
        above: percent of the disk in use above which names go.
        below: percent of the disk in use at which no more go.
        unfinished: whether what was left to be gone on with goes at once.
    """

    keep_generations: int | None = None
    unused_days: float | None = None
    above: float | None = None
    below: float | None = None
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Pruned(Swept):
    """What a prune did, or would have done.

    Attributes:
        orphaned: containers that hold something although their runs were killed; none of them was touched.
        dry_run: whether it would have done so.
    """

    orphaned: tuple[Orphan, ...] = ()
    dry_run: bool = False


def rules(node: Node, choice: Choice = Choice(), *, dry_run: bool = False) -> Rules:
    """Return the rules by which a store is collected, from the settings and what was chosen.

    Raises:
        InvalidError: they contradict each other.
    """
    settings = node.settings
    generations = settings.keep_generations if choice.keep_generations is None else choice.keep_generations
    days = choice.unused_days or settings.unused_days
    above = choice.above or settings.disk_above
    below = choice.below or (None if choice.above else settings.disk_below)
    retention = Retention(generations, days and days * _DAY, above, below)
    return Rules(retention, settings.ingest_days * _DAY, choice.unfinished, dry_run)


def prune(node: Node, choice: Choice = Choice(), *, dry_run: bool = False) -> Pruned:
    """Remove what no name, container or lease holds, what crashes left, and what stayed unfinished for too long.

    Args:
        node: the store.
        choice: which names are forgotten.
        dry_run: only tell what would go.

    Raises:
        InvalidError: the choice contradicts itself, or the settings.
        PreconditionError: a document of a named image is damaged or missing; nothing was removed.
    """
    chosen = rules(node, choice, dry_run=dry_run)
    if not dry_run:
        node.make_room()
        node.recover(whole=True)
    swept = sweep(node.database, node.content, node.snapshotters, chosen)
    return Pruned(swept.removed, swept.left, orphans_if_known(node), dry_run)
