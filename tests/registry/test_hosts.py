"""Which server answers for a domain, and how it is spoken to."""

import pytest

from prestow.errors import InvalidError
from prestow.registry.hosts import Endpoint, Options, Tls, endpoints
from prestow.registry.url import Url


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


def test_mirrors_come_first_and_only_for_what_they_can() -> None:
    mirror = Endpoint(Url.parse("https://mirror.example/v2"), "mirror.example", "docker.io", frozenset({"pull"}))
    options = Options(mirrors={"docker.io": (mirror,)})

    assert [endpoint.name for endpoint in endpoints("docker.io", options, "pull")] == ["mirror.example", "docker.io"]
    assert [endpoint.name for endpoint in endpoints("docker.io", options, "resolve")] == ["docker.io"]
    assert [endpoint.name for endpoint in endpoints("ghcr.io", options, "pull")] == ["ghcr.io"]
    assert mirror.is_mirror


def test_a_domain_that_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidError):
        endpoints("not an address", Options(), "pull")


def test_a_certificate_is_not_verified_only_where_that_was_configured() -> None:
    options = Options(unverified=frozenset({"lab.example:5000"}))

    assert not options.tls_for(Tls(), Url.parse("https://lab.example:5000/v2")).verify
    assert options.tls_for(Tls(), Url.parse("https://lab.example/v2")).verify
    assert not options.tls_for(Tls(verify=False), Url.parse("https://other.example/v2")).verify


def test_headers_of_an_endpoint_are_not_shown() -> None:
    endpoint = Endpoint(Url.parse("https://h/v2"), "h", "h", headers=(("X-Token", "canary"),))

    assert "canary" not in repr(endpoint)
