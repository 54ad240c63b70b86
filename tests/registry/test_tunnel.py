"""Requests through a real proxy: what each side is sent, and what a proxy can do wrong."""

import random
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.errors import InvalidError, PrestowError, UnauthorizedError, UnavailableError
from prestow.registry.hosts import Options, Timeouts, Tls
from prestow.registry.http import Connections, Request
from prestow.registry.network import Reach
from prestow.registry.proxy import Proxies, Proxy, ProxyChoice
from prestow.registry.tunnel import target_reach
from prestow.registry.url import Url
from tests.certificates import self_signed
from tests.connect_proxy import WANTED, ConnectProxy, ProxyFault, answer, connect_proxy
from tests.registries import Fault, FaultRegistry

MANIFEST = "/v2/team/app/manifests/demo"
SHORT = Timeouts(connect=5, idle=0.3, document=1, blob=1, pool=5, window=0.3, rate=100_000)
BODY = random.Random(2).randbytes(12_000_000)  # beyond what is read through the parser


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "registry.test")


@pytest.fixture
def registry(demo_layout: Path, certificate: Path) -> Iterator[FaultRegistry]:
    with FaultRegistry(demo_layout, certificate=certificate) as running:
        yield running


@pytest.fixture(params=["http", "https"])
def proxy(request: pytest.FixtureRequest, certificate: Path) -> Iterator[ConnectProxy]:
    """A proxy of either scheme, which wants credentials."""
    with connect_proxy(certificate if request.param == "https" else None, wants=True) as running:
        yield running


@pytest.fixture
def plain() -> Iterator[ConnectProxy]:
    with connect_proxy() as running:
        yield running


def options_for(proxy: ConnectProxy, certificate: Path, *, timeouts: Timeouts | None = None) -> Options:
    return Options(proxies=proxy.proxies(), tls=Tls(ca=(certificate,)), timeouts=timeouts or Timeouts())


def asked(
    options: Options, url: str, *, proxy: ProxyChoice = "default", limit: Reach | None = None, streams: bool = False
) -> tuple[int, bytes, Reach]:
    """Return status, body and reach of one exchange."""
    private = (("Authorization", "Basic registry-canary"),)
    request = Request("GET", Url.parse(url), private=private, tls=options.tls, limit=limit, proxy=proxy)
    request = replace(request, streams=streams)
    with closing(Connections(options)) as connections, connections.exchange(request) as response:
        return response.status, b"".join(response.chunks()), response.reach


def test_a_tunnel_shows_the_proxy_the_target_alone_and_the_registry_no_proxy(
    registry: FaultRegistry, proxy: ConnectProxy, certificate: Path
) -> None:
    target = proxy.name(registry)

    status, _, reach = asked(options_for(proxy, certificate), f"https://{target}{MANIFEST}")

    (head,) = proxy.heads
    assert (status, reach) == (200, Reach.PUBLIC)
    assert [line.split(b":")[0] for line in head.split(b"\r\n")[1:]] == [b"Host", b"User-Agent", b"Proxy-Authorization"]
    assert head.startswith(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n".encode())
    assert head.endswith(WANTED)
    (seen,) = registry.seen
    assert set(seen.headers) == {"Host", "User-Agent", "Accept-Encoding", "Authorization"}
    assert (seen.path, seen.headers["Host"]) == (MANIFEST, target)


def test_a_plain_request_goes_to_the_proxy_in_absolute_form_as_it_stands(
    fault_registry: FaultRegistry, proxy: ConnectProxy, certificate: Path
) -> None:
    target, path = proxy.name(fault_registry), "/v2/r/blobs/sha256:../../x?ns=a/b"

    assert asked(options_for(proxy, certificate), f"http://{target}{path}")[0] == 404

    assert proxy.asked == [f"GET http://{target}{path}"]
    (seen,) = fault_registry.seen
    assert (seen.path, seen.headers["Host"]) == (path, target)
    assert "Proxy-Authorization" not in seen.headers


def test_a_tunnel_is_used_again(registry: FaultRegistry, proxy: ConnectProxy, certificate: Path) -> None:
    target = proxy.name(registry)
    with closing(Connections(options_for(proxy, certificate))) as connections:
        for _ in range(3):
            request = Request("GET", Url.parse(f"https://{target}{MANIFEST}"), tls=Tls(ca=(certificate,)))
            with connections.exchange(request) as response:
                response.read(1 << 20)

    assert len(registry.seen) == 3
    assert proxy.accepted == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_large_body_comes_whole_past_the_parser(
    registry: FaultRegistry, fault_registry: FaultRegistry, proxy: ConnectProxy, certificate: Path, scheme: str
) -> None:
    server = registry if scheme == "https" else fault_registry
    server.on("/dropped", Fault(status=200, body=BODY, drop_after=11_000_000))
    server.on("", Fault(status=200, body=BODY))
    options, base = options_for(proxy, certificate), f"{scheme}://{proxy.name(server)}"

    assert asked(options, f"{base}/blob", streams=True)[1] == BODY
    with pytest.raises(UnavailableError, match=r"registry\.test"):
        asked(options, f"{base}/dropped", streams=True)


def test_an_address_in_ipv6_is_asked_for_in_brackets(registry: FaultRegistry, plain: ConnectProxy) -> None:
    plain.names["[fd00::5]:5000"] = registry.domain
    options = Options(proxies=plain.proxies(), tls=Tls(verify=False))

    assert asked(options, "https://[fd00::5]:5000/v2/")[2] is Reach.PRIVATE
    assert plain.asked == ["CONNECT [fd00::5]:5000"]


def test_a_targets_own_refusals_are_not_taken_for_the_proxys(
    registry: FaultRegistry, plain: ConnectProxy, certificate: Path
) -> None:
    target = plain.name(registry)
    registry.on("/407", Fault(status=407))
    registry.on("/502", Fault(status=502))

    for status in (407, 502):
        assert asked(options_for(plain, certificate), f"https://{target}/{status}")[0] == status


@pytest.mark.parametrize(
    ("status", "expected", "remedy"),
    [
        (407, UnauthorizedError, r"; add user:password@ to the URL of the proxy in HTTPS_PROXY$"),
        (403, UnauthorizedError, r"; ask its operator to allow that host, or exempt it by NO_PROXY$"),
        (408, UnavailableError, r"; try again later$"),
        (429, UnavailableError, r"; try again later$"),
        (502, UnavailableError, r"; try again later$"),
        (503, UnavailableError, r"; try again later$"),
        (504, UnavailableError, r"; try again later$"),
        (302, InvalidError, r"; check that HTTPS_PROXY names a proxy that allows CONNECT$"),
        (404, InvalidError, r"; check that HTTPS_PROXY names a proxy that allows CONNECT$"),
        (405, InvalidError, r"; check that HTTPS_PROXY names a proxy that allows CONNECT$"),
        (501, InvalidError, r"; check that HTTPS_PROXY names a proxy that allows CONNECT$"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_is_reported_with_a_remedy(
    plain: ConnectProxy, status: int, expected: type[PrestowError], remedy: str
) -> None:
    plain.fault = ProxyFault(raw=answer(status, b"Retry-After: 7\r\nLocation: http://canary.test/\r\n"))

    with pytest.raises(expected, match=remedy) as caught:
        asked(Options(proxies=plain.proxies()), "https://registry.test:5000/v2/")

    text = f"https://registry.test:5000/v2/: the proxy {plain.url} answered {status}"
    assert str(caught.value).startswith(text)
    assert caught.value.retry_after == (7 if expected is UnavailableError else None)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_wrong_password_is_reported_as_that(
    registry: FaultRegistry, proxy: ConnectProxy, certificate: Path, scheme: str
) -> None:
    wrong = Proxy.parse(f"{proxy.scheme}://user:wrong@127.0.0.1:{proxy.port}", "/etc/hosts.toml: proxy")
    target = proxy.name(registry)

    with pytest.raises(UnauthorizedError, match=r"; correct user and password in .* /etc/hosts\.toml: proxy$"):
        asked(options_for(proxy, certificate), f"{scheme}://{target}/v2/", proxy=wrong)

    assert registry.seen == []


@pytest.mark.parametrize(
    "fault",
    [
        ProxyFault(raw=b""),
        ProxyFault(raw=b"HTTP/1.1 200"),
        ProxyFault(raw=b"canary: this is no HTTP\r\n\r\n"),
        ProxyFault(raw=b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 2_000_000),
        ProxyFault(raw=b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000),
        ProxyFault(raw=answer(200, b"X: " + b"x" * 1000 + b"\r\n"), trickles=True),
        ProxyFault(silent=True),
    ],
    ids=["ends", "breaks off", "no HTTP", "large header", "endless", "trickles", "silent"],
)
def test_a_proxy_that_does_not_answer_is_an_error_that_may_pass(plain: ConnectProxy, fault: ProxyFault) -> None:
    plain.fault = fault

    with pytest.raises(UnavailableError, match=rf"the proxy {plain.url}: .*; check HTTPS_PROXY$") as caught:
        asked(Options(proxies=plain.proxies(), timeouts=SHORT), "https://registry.test:5000/v2/")

    assert "canary" not in str(caught.value)


def test_what_a_proxy_sends_before_the_target_s_bytes_opens_no_tunnel(
    registry: FaultRegistry, plain: ConnectProxy, certificate: Path
) -> None:
    plain.fault = ProxyFault(raw=b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with pytest.raises(UnavailableError):
        asked(options_for(plain, certificate, timeouts=SHORT), f"https://{plain.name(registry)}/v2/")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_cannot_be_reached_is_named(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    for server in (f"127.0.0.1:{port}", "nowhere.invalid:3128"):
        proxies = Proxies(("all_proxy", server), ("all_proxy", server))
        with pytest.raises(UnavailableError, match=rf"the proxy http://{server}: no connection: .*; check all_proxy$"):
            asked(Options(proxies=proxies), f"{scheme}://registry.test/v2/")


def test_a_proxy_has_to_prove_itself(plain: ConnectProxy, certificate: Path) -> None:
    with connect_proxy(certificate) as secured, pytest.raises(InvalidError, match=r"the proxy .* is not trusted"):
        asked(Options(proxies=secured.proxies()), "https://registry.test/v2/")
    plain.scheme = "https"
    with pytest.raises(InvalidError, match=f"the proxy {plain.url}: the server does not speak TLS"):
        asked(options_for(plain, certificate), "https://registry.test/v2/")

    assert secured.heads == plain.heads == []


def test_a_registry_has_to_prove_itself_through_a_tunnel(
    registry: FaultRegistry, proxy: ConnectProxy, certificate: Path
) -> None:
    target = proxy.name(registry, "other.test")

    with pytest.raises(InvalidError, match=rf"^https://{target}/v2/: the server's certificate is not trusted"):
        asked(options_for(proxy, certificate), f"https://{target}/v2/")
    assert registry.seen == []


@pytest.mark.parametrize("streams", [False, True])
def test_a_tunnel_through_which_bytes_trickle_is_too_slow(
    registry: FaultRegistry,
    proxy: ConnectProxy,
    certificate: Path,
    streams: bool,  # noqa: FBT001 - a table
) -> None:
    registry.on("", Fault(pieces=1, body=b"x" * 1000))
    timeouts = replace(SHORT, idle=5)

    with pytest.raises(UnavailableError, match="a second are expected" if streams else "took more than 1 s|in time"):
        asked(
            options_for(proxy, certificate, timeouts=timeouts), f"https://{proxy.name(registry)}/v2/", streams=streams
        )


def test_a_handshake_that_trickles_ends_in_time(
    registry: FaultRegistry, proxy: ConnectProxy, certificate: Path
) -> None:
    options = options_for(proxy, certificate, timeouts=SHORT)
    proxy.fault = ProxyFault(trickles=True)

    with pytest.raises(UnavailableError):
        asked(options, f"https://{proxy.name(registry)}/v2/")
    assert registry.seen == []


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[fd00::5]", "192.168.1", "0xa.1", "172.16.0.1."])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_an_address_in_our_network_is_asked_for_on_behalf_of_a_public_registry(
    plain: ConnectProxy, scheme: str, host: str
) -> None:
    with pytest.raises(InvalidError, match="own network"):
        asked(Options(proxies=plain.proxies()), f"{scheme}://{host}:9/", limit=Reach.PUBLIC)

    assert plain.accepted == 0


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("registry.example", Reach.PUBLIC),
        ("8.8.8.8", Reach.PUBLIC),
        ("10.0.0.1", Reach.PRIVATE),
        ("127.1", Reach.LOOPBACK),
        ("localhost", Reach.LOOPBACK),
        ("a.localhost.", Reach.LOOPBACK),
        ("fe80::1", Reach.LINK_LOCAL),
    ],
)
def test_a_target_lies_where_it_is_written_to_lie_and_else_counts_as_public(host: str, reach: Reach) -> None:
    assert target_reach(host) is reach


def test_a_request_s_own_proxy_wins_and_none_is_none(registry: FaultRegistry, certificate: Path) -> None:
    with connect_proxy() as default, connect_proxy() as own:
        for proxy in (default, own):
            target = proxy.name(registry)
        options = options_for(default, certificate)

        asked(options, f"https://{target}/v2/", proxy=Proxy.parse(own.url, "hosts.toml"))
        assert (default.asked, own.asked) == ([], [f"CONNECT {target}"])
        asked(options, f"https://{target}/v2/")
        assert default.asked == [f"CONNECT {target}"]
        with pytest.raises(UnavailableError, match="no connection"):  # the name is the proxies' alone
            asked(options, f"https://{target}/v2/", proxy=None)
        assert (len(default.asked), len(own.asked)) == (1, 1)
