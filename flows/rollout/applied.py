"""Which generation of a set is applied now: the lock's, or that which a rollback holds; and the one before it."""

from dataclasses import dataclass
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient

from flows.rollout import generations, holding
from prestow.fleet.document import read
from prestow.fleet.file import ImageSet
from prestow.fleet.hold import Hold
from prestow.fleet.lock import Lock, LockedSet, lock_path


@dataclass(frozen=True, slots=True)
class Applied:
    """What is applied.

    Attributes:
        hold: the rollback that decides it; None if the lock does.
        held_back: number of the lock's generation, if that is a later one.
    """

    locked: LockedSet
    hold: Hold | None
    held_back: int | None


def applied(client: SyncPrefectClient, path: Path, name: str, image_set: ImageSet) -> Applied:
    """Return what is applied of the set ``name`` of the fleet file at ``path``.

    Raises:
        PrestowError: the lock is missing, wrong or of other images; or the generation that holds is not published.
    """
    hold = holding.read_hold(client, name)
    lock = read(lock_path(path), Lock)
    if hold is None:
        return Applied(lock.of(name, image_set), None, None)
    newest = lock.sets[name].generation if name in lock.sets else None
    held_back = newest if newest is not None and newest > hold.generation else None
    return Applied(generations.read(client, name, hold.generation), hold, held_back)


def before(client: SyncPrefectClient, name: str, locked: LockedSet) -> LockedSet | None:
    """Return the newest other generation that was applied; None if there is none."""
    others = [number for number in generations.numbers(client, name) if number != locked.generation]
    return generations.read(client, name, others[0]) if others else None
