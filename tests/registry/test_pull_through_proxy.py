"""Images through a proxy: which proxy each request of a pull takes, and where the secrets of both sides do not go."""

import base64
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.verify import verify
from prestow.errors import InvalidError, NotFoundError, PrestowError
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_LAYER
from prestow.platforms import Platform
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.credentials import Credential, Credentials
from prestow.registry.fetch import fetch_manifest
from prestow.registry.hosts import Options, Timeouts, Tls
from prestow.registry.proxy import Proxies
from prestow.registry.resolve import resolve
from prestow.registry.source import Sources
from tests.certificates import self_signed
from tests.connect_proxy import ENCODED, PASSWORD, WANTED, ConnectProxy, ProxyFault, answer, connect_proxy
from tests.hosts_files import write_hosts
from tests.image_factory import put_blob
from tests.registries import Access, Fault, FaultRegistry

AMD64 = Platform("linux", "amd64")
MIB = 1 << 20
CANARY = "registry-canary-7c"
PROXY_SECRETS = (PASSWORD, ENCODED.partition(":")[2], WANTED.decode().removeprefix("Basic "))
REGISTRY_SECRETS = (CANARY, base64.b64encode(f"{CANARY}:{CANARY}".encode()).decode(), "Bearer token-")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "registry.test", "auth.test", "blobs.test")


@pytest.fixture
def registry(fault_registry: FaultRegistry, certificate: Path) -> Iterator[FaultRegistry]:
    """A registry of this test's own layout, with TLS."""
    with FaultRegistry(fault_registry.layout, certificate=certificate) as running:
        yield running


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    with connect_proxy(wants=True) as running:
        yield running


@pytest.fixture
def layer(registry: FaultRegistry) -> Descriptor:
    return put_blob(registry.layout, bytes(range(256)) * (3 * MIB // 256), OCI_LAYER)


def known(_name: str, _repository: str) -> Credential:
    return Credential(CANARY, CANARY)


def image(domain: str) -> Reference:
    return Reference.parse(f"{domain}/team/app:demo")


def hosts(proxy: ConnectProxy) -> list[str]:
    """Return the hosts that a proxy was asked for, in order."""
    return [asked.split(" ")[1].partition(":")[0] for asked in proxy.asked]


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_an_image_comes_whole_and_resumes(
    registry: FaultRegistry, fault_registry: FaultRegistry, proxy: ConnectProxy, certificate: Path,
    content: LocalStore, layer: Descriptor, scheme: str,
) -> None:  # fmt: skip
    server = registry if scheme == "https" else fault_registry
    domain = proxy.name(server)
    insecure = frozenset({domain} if scheme == "http" else ())
    options = Options(proxies=proxy.proxies(), tls=Tls(ca=(certificate,)), insecure=insecure)
    server.on("/blobs/.*" + layer.digest.encoded, Fault(drop_after=MIB), times=1)

    with Sources(options) as sources:
        source = sources.open(image(domain))
        found = fetch_manifest(source, content, resolve(source, content, image(domain)), AMD64)
        fetch_blob(source, content, layer)
        verify(content, layer)

    assert content.has(found.config.digest)
    assert content.has(layer.digest)
    assert "Range" in server.seen[-1].headers
    assert {asked.split(" ")[0] for asked in proxy.asked} <= ({"CONNECT"} if scheme == "https" else {"GET", "HEAD"})
    assert not any("Proxy-Authorization" in seen.headers for seen in server.seen)


def test_plain_http_behind_a_proxy_has_to_be_configured(fault_registry: FaultRegistry, proxy: ConnectProxy) -> None:
    domain = proxy.name(fault_registry)

    with Sources(Options(proxies=proxy.proxies())) as sources, pytest.raises(InvalidError, match="does not speak TLS"):
        sources.open(image(domain)).resolve()

    assert fault_registry.seen == []
    assert proxy.asked == [f"CONNECT {domain}"]


def test_an_endpoint_s_own_proxy_is_for_its_origin_alone(
    registry: FaultRegistry,
    proxy: ConnectProxy,
    certificate: Path,
    content: LocalStore,
    layer: Descriptor,
    tmp_path: Path,
) -> None:
    with connect_proxy() as own:
        domain = own.name(registry)
        auth, blobs = proxy.name(registry, "auth.test"), proxy.name(registry, "blobs.test")
        registry.access = Access(f"https://{auth}/token")
        options = write_hosts(tmp_path / "hosts", domain, f'ca = "{certificate}"\nprestow = {{ proxy = "{own.url}" }}')
        options = replace(options, proxies=proxy.proxies())

        with Sources(options) as sources:
            source = sources.open(image(domain))
            source.resolve()
            assert (set(hosts(own)), set(hosts(proxy))) == ({"registry.test"}, {"auth.test"})
            registry.on("/blobs/", Fault(redirect=f"https://{blobs}/"), times=1)
            fetch_blob(source, content, layer)

    assert set(hosts(own)) == {"registry.test"}
    assert set(hosts(proxy)) == {"auth.test", "blobs.test"}


def test_a_token_service_at_an_endpoint_s_own_origin_takes_its_proxy(
    registry: FaultRegistry, certificate: Path, tmp_path: Path
) -> None:
    with connect_proxy() as own:
        domain = own.name(registry)
        registry.access = Access(f"https://{domain}/token")
        hosts_file = f'ca = "{certificate}"\nprestow = {{ proxy = "{own.url}" }}'
        with Sources(write_hosts(tmp_path / "hosts", domain, hosts_file)) as sources:
            sources.open(image(domain)).resolve()

    assert [seen.path for seen in registry.requests("/token")] != []
    assert set(hosts(own)) == {"registry.test"}


@pytest.mark.parametrize("where", ["10.0.0.1", "169.254.169.254", "127.1", "127.0.0.1", "localhost", "[::1]"])
def test_a_registry_behind_a_proxy_cannot_send_us_into_our_own_network(
    registry: FaultRegistry, proxy: ConnectProxy, certificate: Path, content: LocalStore, layer: Descriptor, where: str
) -> None:
    domain = proxy.name(registry)
    with FaultRegistry(registry.layout, certificate=certificate) as inside:
        port = inside.domain.rpartition(":")[2]
        proxy.names[f"{where}:{port}"] = inside.domain
        registry.on("/blobs/", Fault(redirect=f"https://{where}:{port}/"))
        options = Options(proxies=proxy.proxies(exempt="169.254.0.0/16"), tls=Tls(ca=(certificate,)))

        with Sources(options) as sources, pytest.raises(InvalidError, match="own network"):
            fetch_blob(sources.open(image(domain)), content, layer)

    assert inside.accepted == 0
    assert set(hosts(proxy)) == {"registry.test"}


def test_a_proxy_that_no_request_takes_need_not_be_one(
    fault_registry: FaultRegistry, content: LocalStore, proxy: ConnectProxy
) -> None:
    unusable = Proxies(("HTTPS_PROXY", "socks5://proxy.corp"), ("HTTP_PROXY", "::"))

    with Sources(Options(proxies=unusable)) as sources:
        source = sources.open(image(fault_registry.domain))  # on loopback
        fetch_manifest(source, content, source.resolve(), AMD64)
        with pytest.raises(InvalidError, match="HTTPS_PROXY: SOCKS proxies are not supported"):
            sources.open(image("registry.test")).resolve()

    assert proxy.accepted == 0


ECHO = WANTED + b" " + PASSWORD.encode()
FAULTS = {
    "none": ProxyFault(),
    "401": ProxyFault(raw=answer(401, b"X-Echo: " + WANTED + b"\r\n")),
    "407": ProxyFault(raw=answer(407, b"X-Echo: " + WANTED + b"\r\n") + ECHO),
    "403": ProxyFault(raw=answer(403) + ECHO),
    "502": ProxyFault(raw=answer(502) + ECHO),
    "a status that echoes": ProxyFault(raw=b"HTTP/1.1 403 " + WANTED + b"\r\nContent-Length: 0\r\n\r\n"),
    "a header that echoes": ProxyFault(raw=b"HTTP/1.1 200 OK\r\n" + ECHO + b"\r\n\r\n"),
    "no HTTP": ProxyFault(raw=ECHO + b"\r\n\r\n"),
    "a redirect": ProxyFault(raw=answer(302, b"Location: http://" + WANTED[6:] + b".test/\r\n")),
    "ends": ProxyFault(raw=b""),
    "silent": ProxyFault(silent=True),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_no_secret_reaches_the_other_side_a_log_or_an_error(
    registry: FaultRegistry, fault_registry: FaultRegistry, proxy: ConnectProxy, certificate: Path,
    content: LocalStore, layer: Descriptor, caplog: pytest.LogCaptureFixture, scheme: str, fault: ProxyFault,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG, "prestow")
    caplog.set_level(logging.INFO)
    server = registry if scheme == "https" else fault_registry
    domain, auth = proxy.name(server), proxy.name(server, "auth.test")
    server.access = Access(f"{scheme}://{auth}/token")
    options = Options(
        proxies=proxy.proxies(),
        tls=Tls(ca=(certificate,)),
        trusted=frozenset({"auth.test"}),
        insecure=frozenset({domain, auth} if scheme == "http" else ()),
        timeouts=replace(Timeouts(), document=1, blob=1, idle=0.3),
    )

    texts = [repr(options)]
    with Sources(options, credentials=Credentials(known)) as sources:
        source = sources.open(image(domain))
        source.resolve()  # with a token, for which the token service gets user and password
        with pytest.raises(NotFoundError):
            source.fetch(layer._replace(digest=layer.digest.of(b"other"))).__enter__()
    proxy.fault = fault
    with Sources(options, credentials=Credentials(known)) as sources:
        try:
            fetch_blob(sources.open(image(domain)), content, layer)
        except PrestowError as error:
            texts += traceback.format_exception(error)

    assert (len(texts) > 1) == (fault != ProxyFault())
    received = "".join(f"{seen.path} {seen.headers} {seen.body!r}" for seen in server.seen)
    assert f"username={CANARY}&password={CANARY}" in received
    assert [secret for secret in PROXY_SECRETS if secret in received] == []
    if scheme == "https":
        heads = b"".join(proxy.heads).decode()
        assert WANTED.decode() in heads
        assert [secret for secret in REGISTRY_SECRETS if secret in heads] == []
    written = "".join(texts) + caplog.text
    assert [secret for secret in (*PROXY_SECRETS, *REGISTRY_SECRETS) if secret in written] == []
