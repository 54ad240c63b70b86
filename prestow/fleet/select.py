"""Which hosts an image set is for, and which set is meant."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from prestow.errors import InvalidError, NotFoundError, printable
from prestow.fleet.file import FleetFile, Host, Selector

_TOLD = 20  # labels or names in an error


def choose_set(file: FleetFile, name: str | None) -> str:
    """Return the name of a set, the only one if none is named.

    Raises:
        NotFoundError: the file has no set of that name.
        InvalidError: it has several, and none is named.
    """
    names = sorted(file.sets)
    if name is None and len(names) == 1:
        return names[0]
    if name is None:
        raise InvalidError(f"the fleet file has {len(names)} image sets: name one of {_listed(names)}")
    if name not in file.sets:
        raise NotFoundError(
            f"image set {printable(name)}: the fleet file has none of that name; it has {_listed(names)}"
        )
    return name


def select(name: str, selector: Selector, hosts: Sequence[Host]) -> tuple[Host, ...]:
    """Return the hosts of set ``name``, in the order given: those that match its selector.

    Raises:
        NotFoundError: no host does.
    """
    found = tuple(host for host in hosts if matches(selector, host))
    if found:
        return found
    labels = sorted({f"{key}={value}" for host in hosts for key, value in host.labels.items()})
    raise NotFoundError(
        f"image set {name}: none of {len(hosts)} hosts matches {describe(selector)}; "
        f"labels in the fleet: {_listed(labels) or 'none'}; hosts: {_listed(sorted(host.name for host in hosts))}; "
        "correct the selector, or add hosts"
    )


def matches(selector: Selector, host: Host) -> bool:
    """Whether a host has all labels and one of the names, and none of the excluded names."""
    return (
        all(host.labels.get(key) in _values(wanted) for key, wanted in selector.labels.items())
        and (not selector.names or _has_name(host, selector.names))
        and not _has_name(host, selector.exclude)
    )


def describe(selector: Selector) -> str:
    """Return a selector as one line."""
    parts = [f"{key}={'|'.join(_values(wanted))}" for key, wanted in selector.labels.items()]
    parts += [f"names {', '.join(selector.names)}"] if selector.names else []
    parts += [f"exclude {', '.join(selector.exclude)}"] if selector.exclude else []
    return printable("; ".join(parts)) or "the empty selector"


def _values(wanted: str | tuple[str, ...]) -> tuple[str, ...]:
    return (wanted,) if isinstance(wanted, str) else wanted


def _has_name(host: Host, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(host.name, pattern) for pattern in patterns)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(printable(name) for name in names[:_TOLD]) + more
