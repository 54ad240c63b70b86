"""Realms: which token services may be given the credentials of the registry that named them.

A realm is a URL that the registry names, and it may name any server. Credentials go to the registry's own host, to a
host above or below it in the name (``registry.gitlab.com`` and ``gitlab.com``), to token services that are known to
belong to their registries, and to hosts that the operator trusts. Any other realm is asked anonymously.
"""

import re
from collections.abc import Iterator

from prestow.reference import DEFAULT_DOMAIN
from prestow.registry.hosts import Endpoint, Options
from prestow.registry.url import Url

_SERVICES = {
    DEFAULT_DOMAIN: "auth.docker.io",
    "registry.digitalocean.com": "api.digitalocean.com",
}
_NET, _REGION = r"(?P<net>-vpc|-internal|)", r"(?P<region>[a-z]{2}(?:-[a-z0-9]+)+)"
_ALIBABA = {  # Container Registry by edition: name of a registry, and its token services of the same region and network
    rf"registry{_NET}\.{_REGION}\.aliyuncs\.com": ("dockerauth",),
    rf"[a-z0-9-]+?{_NET}\.{_REGION}\.personal\.cr\.aliyuncs\.com": ("dockerauth",),
    rf"[a-z0-9-]+?-registry{_NET}\.{_REGION}\.cr\.aliyuncs\.com": ("dockerauth-ee", "dockerauth"),
}
_ZHANGJIAKOU = "cn-zhangjiakou"  # the region whose service in the internet has its name after a hyphen


def may_have_credentials(endpoint: Endpoint, realm: Url, options: Options) -> bool:
    """Whether a token service may be given the credentials of the registry that named it."""
    registry = endpoint.base
    if realm.host in {registry.host, *_known_services(endpoint.name)} or is_trusted(endpoint, realm, options):
        return True
    if realm.address or registry.address or "." not in realm.host:
        return False
    return registry.host.endswith(f".{realm.host}") or realm.host.endswith(f".{registry.host}")


def is_trusted(endpoint: Endpoint, realm: Url, options: Options) -> bool:
    """Whether the operator trusts a token service, for any registry or for this one."""
    return bool(options.trusted & {realm.host, f"{endpoint.name.lower()}={realm.host}"})


def _known_services(name: str) -> Iterator[str]:
    """Yield the hosts of the token services that belong to a registry, where its name does not show it."""
    if name in _SERVICES:
        yield _SERVICES[name]
    for pattern, services in _ALIBABA.items():
        if found := re.fullmatch(pattern, name, re.ASCII):
            net, region = found["net"], found["region"]
            yield from (f"{service}{net}.{region}.aliyuncs.com" for service in services)
            if (net, region) == ("", _ZHANGJIAKOU):
                yield f"dockerauth-{_ZHANGJIAKOU}.aliyuncs.com"
