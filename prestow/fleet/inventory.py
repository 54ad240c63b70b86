"""All hosts of a fleet: those written in the file, and those that files, commands and workers add."""

from collections.abc import Callable, Iterable, Sequence

from pydantic import RootModel, TypeAdapter, ValidationError

from prestow.errors import InvalidError
from prestow.fleet.file import FleetFile, Host, HostName, HostsCommand, HostsFile, HostsWorkers, check_names

ReadHosts = Callable[[HostsFile | HostsCommand], Sequence[Host]]
"""Returns the hosts that a file or a command lists."""


class HostList(RootModel[tuple[Host, ...]]):
    """What a file or a command of ``hosts:`` gives: a list of hosts."""


_HOST_NAME: TypeAdapter[str] = TypeAdapter(HostName)


def combine(file: FleetFile, read: ReadHosts, workers: Callable[[], Iterable[str]]) -> tuple[Host, ...]:
    """Return all hosts of a file, in its order, and workers in that of their names: the first ones are asked first.

    A host that is listed has a worker, too: the workers add those whose names are not listed.

    Args:
        file: the fleet file.
        read: reads another list.
        workers: returns the names of the pool's workers; it is called only if the file takes hosts from there. A name
            that no host can have is a worker of another purpose.

    Raises:
        InvalidError: two hosts have the same name, or the workers are to be added twice.
    """
    listed: list[Host] = []
    pool: list[HostsWorkers] = []
    for entry in file.hosts:
        if isinstance(entry, Host):
            listed.append(entry)
        elif isinstance(entry, HostsWorkers):
            pool.append(entry)
        else:
            listed += read(entry)
    if len(pool) > 1:
        raise InvalidError("hosts: `workers: true` stands there twice; remove one of them")
    try:
        check_names(listed)
    except ValueError as error:
        raise InvalidError(f"hosts: {error}, or list it once") from error
    taken = {host.key for host in listed}
    for entry in pool:
        found = (
            Host(name=name, labels=entry.labels, platform=entry.platform)
            for name in sorted(workers())
            if _is_name(name)
        )
        listed += [host for host in found if host.key not in taken]
    return tuple(listed)


def _is_name(text: str) -> bool:
    try:
        _HOST_NAME.validate_python(text)
    except ValidationError:
        return False
    return True
