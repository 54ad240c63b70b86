"""Which servers answer for a domain, and how they are spoken to."""

from dataclasses import replace
from pathlib import Path

import pytest

from prestow.errors import InvalidError
from prestow.registry.endpoints import endpoints
from prestow.registry.hosts import Endpoint, Options
from prestow.registry.url import Url
from tests.hosts_files import write_hosts


@pytest.mark.parametrize(
    ("domain", "base"),
    [
        ("docker.io", "https://registry-1.docker.io/v2"),
        ("ghcr.io", "https://ghcr.io/v2"),
        ("registry.example:5000", "https://registry.example:5000/v2"),
        ("localhost", "http://localhost/v2"),
        ("localhost:5000", "http://localhost:5000/v2"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/v2"),
        ("[::1]:5000", "http://[::1]:5000/v2"),
        ("localhost:443", "https://localhost/v2"),
        ("localhost.evil", "https://localhost.evil/v2"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000/v2"),
        ("plain.example:80", "http://plain.example/v2"),
        ("insecure.example:5000", "http://insecure.example:5000/v2"),
        ("insecure.example", "https://insecure.example/v2"),
    ],
)
def test_a_domain_has_its_own_endpoint(domain: str, base: str) -> None:
    options = Options(insecure=frozenset({"insecure.example:5000", "plain.example"}))

    (endpoint,) = endpoints(domain, options, "resolve")

    assert str(endpoint.base) == base
    assert endpoint.name == domain
    assert not endpoint.is_mirror


def test_mirrors_come_first_and_only_for_what_they_can(tmp_path: Path) -> None:
    options = write_hosts(tmp_path, "docker.io", '[host."https://mirror.example"]\ncapabilities = ["pull"]')

    assert [endpoint.name for endpoint in endpoints("docker.io", options, "pull")] == ["mirror.example", "docker.io"]
    assert [endpoint.name for endpoint in endpoints("docker.io", options, "resolve")] == ["docker.io"]
    assert [endpoint.name for endpoint in endpoints("ghcr.io", options, "pull")] == ["ghcr.io"]
    assert [endpoint.is_mirror for endpoint in endpoints("docker.io", options, "pull")] == [True, False]


def test_a_server_s_own_limits_replace_those_of_all_registries(tmp_path: Path) -> None:
    text = '[prestow]\nconnections = 2\nrate = 1000\n[host."https://mirror.example"]\n'
    hosts = write_hosts(tmp_path, "registry.example", text)

    found = endpoints("registry.example", replace(hosts, connections=5, rate=7), "pull")

    assert [(each.name, each.connections, each.rate) for each in found] == [
        ("mirror.example", 5, 7),
        ("registry.example", 2, 1000),
    ]


def test_a_domain_that_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidError):
        endpoints("not an address", Options(), "pull")


def test_headers_of_an_endpoint_are_not_shown() -> None:
    endpoint = Endpoint(Url.parse("https://h/v2"), "h", "h", headers=(("X-Token", "canary"),))

    assert "canary" not in repr(endpoint)
