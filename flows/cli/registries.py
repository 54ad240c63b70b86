"""Which hosts file decides for a registry, and which servers it names: a check of ``prestow doctor``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prestow.errors import PrestowError
from prestow.registry.endpoints import every_endpoint
from prestow.registry.hosts import Endpoint, Options
from prestow.registry.hosts_file import find_hosts_file, registries


@dataclass(frozen=True, slots=True)
class Decision:
    """What decides for one registry.

    Attributes:
        domain: the registry's.
        works: whether its servers are known.
        found: the file, and the servers in the order in which they are asked; or what is wrong with it.
        advice: keys of the file that are ignored.
    """

    domain: str
    works: bool
    found: str
    advice: str = ""


def decisions(options: Options, domains: Sequence[str] = ()) -> Iterator[Decision]:
    """Yield what decides for each of the domains; for all that have a directory where none are named."""
    for domain in domains or sorted(registries(options.directories)):
        try:
            file = find_hosts_file(domain, options.directories)
            servers = ", then ".join(map(_shown, every_endpoint(domain, options)))
        except PrestowError as error:
            yield Decision(domain, works=False, found=str(error))
        else:
            ignored = f"unknown keys, ignored: {', '.join(file.unknown)}" if file and file.unknown else ""
            yield Decision(
                domain, works=True, found=f"{file.path if file else 'no hosts file'}: {servers}", advice=ignored
            )


def _shown(endpoint: Endpoint) -> str:
    """Return where a server is, and the name of its credentials, if the file names any."""
    return f"{endpoint.base} with credentials {endpoint.credentials}" if endpoint.credentials else str(endpoint.base)
