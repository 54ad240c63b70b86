"""Realms: which token services may be given the credentials of the registry that named them.

A realm is a URL that the registry names, and it may name any server. Credentials go to the registry's own host, to a
host above or below it in the name (``registry.gitlab.com`` and ``gitlab.com``), to token services that are known to
belong to their registries, and to hosts that the operator trusts. Any other realm is asked anonymously.
"""

import re

from prestow.reference import DEFAULT_DOMAIN
from prestow.registry.hosts import Endpoint, Options
from prestow.registry.url import Url

_SERVICES = {
    DEFAULT_DOMAIN: "auth.docker.io",
    "registry.digitalocean.com": "api.digitalocean.com",
}
_ALIBABA = re.compile(r"registry(\.[a-z0-9-]+\.aliyuncs\.com)", re.ASCII)  # one for each region


def may_have_credentials(endpoint: Endpoint, realm: Url, options: Options) -> bool:
    """Whether a token service may be given the credentials of the registry that named it."""
    registry = endpoint.base
    if realm.host in (registry.host, _known_service(endpoint.name)) or is_trusted(endpoint, realm, options):
        return True
    if realm.address or registry.address or "." not in realm.host:
        return False
    return registry.host.endswith(f".{realm.host}") or realm.host.endswith(f".{registry.host}")


def is_trusted(endpoint: Endpoint, realm: Url, options: Options) -> bool:
    """Whether the operator trusts a token service, for any registry or for this one."""
    return bool(options.trusted & {realm.host, f"{endpoint.name.lower()}={realm.host}"})


def _known_service(name: str) -> str | None:
    """Return the host of the token service that belongs to a registry, where its name does not show it."""
    alibaba = _ALIBABA.fullmatch(name)
    return f"dockerauth{alibaba[1]}" if alibaba else _SERVICES.get(name)
