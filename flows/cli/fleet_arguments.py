"""What the sub-verbs of ``fleet`` share: the fleet file, the lock beside it, and the image set that is meant.

chosen = choose(args)                   chosen.name, chosen.set, chosen.locked
hosts = chosen.hosts(pool(args))        those that the set selects
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from config.home import fleet_file
from flows.cli.arguments import folder

if TYPE_CHECKING:
    from prestow.fleet.file import FleetFile, Host, ImageSet
    from prestow.fleet.lock import Lock, LockedSet

DEFAULT = "fleet.yaml"
"""Name of the fleet file where none was given."""


def add_file(verb: argparse.ArgumentParser) -> None:
    """Let a sub-verb read another fleet file."""
    verb.add_argument(
        "--file", "-f", metavar="FILE", type=folder,
        help=f"the fleet file; its lock is beside it (default: PRESTOW_FLEET, or {DEFAULT})",
    )  # fmt: skip


def add_set(verb: argparse.ArgumentParser) -> None:
    """Let a sub-verb name an image set."""
    verb.add_argument("set", metavar="SET", nargs="?", help="the image set (default: the only one of the file)")


@dataclass(frozen=True)
class Chosen:
    """A fleet file and one of its image sets.

    Attributes:
        path: of the file.
        file: the whole file.
        name: of the set.
    """

    path: Path
    file: "FleetFile"
    name: str

    @property
    def set(self) -> "ImageSet":
        """The set as the file has it."""
        return self.file.sets[self.name]

    @property
    def locked(self) -> "LockedSet":
        """The set as the lock has it.

        Raises:
            NotFoundError: there is no lock, or it lacks the set.
            PreconditionError: the images of the set are others now.
        """
        return read_lock(self.path).of(self.name, self.set)

    def hosts(self, workers: Callable[[], Iterable[str]]) -> "tuple[Host, ...]":
        """Return the hosts that the set selects, in the order of the file; ``workers`` as of ``read_hosts``.

        Raises:
            PrestowError: a list of hosts cannot be read or is wrong, or the set selects none.
        """
        from flows.rollout.inventory import read_hosts
        from prestow.fleet.select import select

        return select(self.name, self.set.hosts, read_hosts(self.path, self.file, workers))


def fleet_path(args: argparse.Namespace) -> Path:
    """Return the path of the fleet file."""
    return Path(args.file or fleet_file(DEFAULT))


def read_file(path: Path) -> "FleetFile":
    """Read the fleet file.

    Raises:
        NotFoundError: there is none.
        InvalidError: it cannot be read, or breaks a rule.
    """
    from prestow.errors import NotFoundError
    from prestow.fleet.document import read
    from prestow.fleet.file import FleetFile

    try:
        return read(path, FleetFile)
    except NotFoundError as error:
        raise NotFoundError(f"{error}; write one, or name another with --file or PRESTOW_FLEET") from error


def read_lock(path: Path) -> "Lock":
    """Read the lock beside a fleet file.

    Raises:
        NotFoundError: there is none.
        InvalidError: it cannot be read, or breaks a rule.
    """
    from prestow.errors import InvalidError, NotFoundError
    from prestow.fleet.document import read
    from prestow.fleet.lock import Lock, lock_path

    try:
        return read(lock_path(path), Lock)
    except NotFoundError as error:
        raise NotFoundError(f"{error}; run `prestow fleet lock` to write it") from error
    except InvalidError as error:  # such as a merge that was not resolved
        raise InvalidError(f"{error}\nrestore the lock, from git for example: its generations count on") from error


def pool(args: argparse.Namespace) -> Callable[[], Iterable[str]]:
    """Return what asks Prefect for the names of the work pool's workers, when it is called."""

    def names() -> Iterable[str]:
        from flows.cli.session import connection

        with connection(args):
            from flows.rollout.workers import names as found

            return found()

    return names


def choose(args: argparse.Namespace) -> Chosen:
    """Read the fleet file, and choose the image set that the arguments name, or the only one.

    Raises:
        NotFoundError: there is no file, or no such set.
        InvalidError: the file is wrong, or has several sets and none was named.
    """
    from prestow.fleet.select import choose_set

    path = fleet_path(args)
    file = read_file(path)
    return Chosen(path, file, choose_set(file, args.set))
