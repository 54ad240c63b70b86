"""Redirects: what goes along to another server, and where none leads."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.errors import InvalidError
from prestow.registry.hosts import Options, Tls
from prestow.registry.http import Connections, Request
from prestow.registry.network import Reach
from prestow.registry.redirects import MAX_HOPS, follow, next_hop
from prestow.registry.url import Url
from tests.registries import Fault, FaultRegistry

PATH = "/v2/team/app/manifests/demo"
PRIVATE = (("Authorization", "Bearer canary"), ("X-Registry-Auth", "canary"))
ASKED = Request(
    "GET",
    Url.parse("https://registry.example/v2/r/blobs/x"),
    headers=(("Range", "bytes=5-"),),
    private=PRIVATE,
    tls=Tls(ca=(Path("ca.pem"),), clients=((Path("me.pem"), None),), verify=False),
)


@pytest.fixture
def storage(demo_layout: Path) -> Iterator[FaultRegistry]:
    """Another server, which has the same blobs."""
    with FaultRegistry(demo_layout) as registry:
        yield registry


def ask(registry: FaultRegistry, path: str = PATH) -> int:
    request = Request("GET", Url.parse(registry.url + path), headers=(("Range", "bytes=0-"),), private=PRIVATE)
    with closing(Connections(Options())) as connections, follow(connections, request) as response:
        response.read(1 << 20)
        return response.status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_another_server_gets_the_request_but_nothing_that_proves_who_we_are(
    fault_registry: FaultRegistry, storage: FaultRegistry, status: int
) -> None:
    fault_registry.on("", Fault(redirect=storage.url + "/", status=status))

    assert ask(fault_registry) == 200

    assert fault_registry.seen[0].headers["Authorization"] == "Bearer canary"
    (seen,) = storage.seen
    assert "canary" not in str(seen)
    assert seen.headers["Range"] == "bytes=0-"
    assert seen.headers["Host"] == storage.domain


def test_a_presigned_url_keeps_its_query(fault_registry: FaultRegistry, storage: FaultRegistry) -> None:
    fault_registry.on("", Fault(redirect=f"{storage.url}{PATH}?X-Amz-Signature=a%2Fb&x=1"))

    assert ask(fault_registry) == 200

    assert storage.seen[0].path == f"{PATH}?X-Amz-Signature=a%2Fb&x=1"


def test_the_same_server_is_told_who_we_are_again(fault_registry: FaultRegistry) -> None:
    fault_registry.on("/manifests/moved", Fault(redirect=PATH))

    assert ask(fault_registry, "/v2/team/app/manifests/moved") == 200

    assert [seen.headers["Authorization"] for seen in fault_registry.seen] == ["Bearer canary"] * 2


def test_who_was_sent_away_comes_back_as_nobody(fault_registry: FaultRegistry, storage: FaultRegistry) -> None:
    fault_registry.on("/manifests/away", Fault(redirect=f"{storage.url}/back"))
    storage.on("/back", Fault(redirect=fault_registry.url + PATH))

    assert ask(fault_registry, "/v2/team/app/manifests/away") == 200

    assert "canary" not in str(fault_registry.seen[-1])


def test_a_circle_ends(fault_registry: FaultRegistry) -> None:
    fault_registry.on("", Fault(redirect=PATH))

    with pytest.raises(InvalidError, match="more than 10 times"):
        ask(fault_registry)

    assert len(fault_registry.seen) == 1 + MAX_HOPS


@pytest.mark.parametrize("location", [None, "", "file:///etc/passwd", "http://user:pw@h/", "https://h:0/", "//"])
def test_a_redirect_to_what_is_no_url_is_refused(fault_registry: FaultRegistry, location: str | None) -> None:
    fault_registry.on("", Fault(status=307, headers={"Location": location}))

    with pytest.raises(InvalidError):
        ask(fault_registry)


def test_plain_http_is_no_way_on_from_https_unless_configured() -> None:
    with pytest.raises(InvalidError, match="plain HTTP"):
        next_hop(ASKED, "http://storage.example/x", Reach.PUBLIC, Options())

    options = Options(insecure=frozenset({"storage.example"}))
    assert str(next_hop(ASKED, "http://storage.example/x", Reach.PUBLIC, options).url) == "http://storage.example/x"


def test_another_server_has_to_prove_itself_and_learns_nothing() -> None:
    hop = next_hop(ASKED, "https://storage.example/x?y=z", Reach.PRIVATE, Options())

    assert hop == replace(
        ASKED,
        url=Url.parse("https://storage.example/x?y=z"),
        private=(),
        tls=Tls(ca=(Path("ca.pem"),)),
        limit=Reach.PRIVATE,
    )


def test_the_first_server_sets_how_deep_the_whole_chain_may_lead() -> None:
    first = next_hop(ASKED, "https://a.example/", Reach.PUBLIC, Options())
    second = next_hop(first, "https://b.example/", Reach.LOOPBACK, Options())

    assert second.limit is Reach.PUBLIC


def test_a_trusted_host_may_lie_anywhere() -> None:
    options = Options(trusted=frozenset({"storage.example"}))

    assert next_hop(ASKED, "https://storage.example/x", Reach.PUBLIC, options).limit is None
