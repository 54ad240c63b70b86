"""Foreign layers: from the registry, or from a host that the operator allowed, and nothing else (threats B-17)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.refs import layer_ref
from prestow.content.verify import verify
from prestow.digest import Digest
from prestow.errors import InvalidError, MismatchError, NotFoundError, PrestowError, UnauthorizedError
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import DOCKER_FOREIGN_LAYER, OCI_FOREIGN_LAYER, OCI_LAYER
from prestow.reference import LayoutReference, Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.credentials import Credential, Credentials
from prestow.registry.foreign import first_foreign, foreign_request
from prestow.registry.hosts import Options, Tls
from prestow.registry.network import Reach
from prestow.registry.redirects import next_hop
from prestow.registry.source import Source, Sources
from tests.certificates import self_signed
from tests.image_factory import put_blob, read_blob, write_demo_image
from tests.registries import Access, Fault, FaultRegistry

CREDENTIALS = Credentials(lambda *_: Credential("fleet", "secret"))
DATA = bytes(range(256)) * 4000
PATH = "/v2/windows/servercore/blobs/"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path)


@pytest.fixture
def vendor(tmp_path: Path, certificate: Path) -> Iterator[FaultRegistry]:
    """Another server, over TLS, which has the layer."""
    write_demo_image(tmp_path / "vendor")
    put_blob(tmp_path / "vendor", DATA, DOCKER_FOREIGN_LAYER)
    with FaultRegistry(tmp_path / "vendor", certificate=certificate) as server:
        yield server


@pytest.fixture
def layer(tmp_path: Path, vendor: FaultRegistry) -> Descriptor:
    """A layer that the registry lacks."""
    found = put_blob(tmp_path / "vendor", DATA, f"{DOCKER_FOREIGN_LAYER}.gzip")
    return found._replace(urls=(f"{vendor.url}{PATH}{found.digest}",))


@pytest.fixture
def options(certificate: Path) -> Options:
    """Of an operator who allowed this host, and that it lies in our own network."""
    allowed = frozenset({"127.0.0.1"})
    return Options(foreign=allowed, trusted=allowed, tls=Tls(ca=(certificate,)))


Open = Callable[[Options], Source]


@pytest.fixture
def open_source(fault_registry: FaultRegistry) -> Iterator[Open]:
    opened: list[Sources] = []

    def source(options: Options) -> Source:
        opened.append(Sources(options, credentials=CREDENTIALS))
        return opened[-1].open(Reference.parse(f"{fault_registry.domain}/windows/servercore:1"))

    fault_registry.access = Access(None)
    yield source
    for sources in opened:
        sources.close()


def test_the_registry_is_asked_first_and_is_enough(
    fault_registry: FaultRegistry, vendor: FaultRegistry, content: LocalStore, layer: Descriptor, options: Options,
    open_source: Open,
) -> None:  # fmt: skip
    put_blob(fault_registry.layout, DATA, layer.media_type)

    fetch_blob(open_source(options), content, layer)

    verify(content, layer)
    assert vendor.seen == []


@pytest.mark.parametrize("media_type", [f"{DOCKER_FOREIGN_LAYER}.gzip", f"{OCI_FOREIGN_LAYER}+gzip", OCI_LAYER])
def test_an_allowed_host_gets_nothing_that_proves_who_we_are(
    fault_registry: FaultRegistry, vendor: FaultRegistry, content: LocalStore, layer: Descriptor, options: Options,
    open_source: Open, media_type: str,
) -> None:  # fmt: skip
    vendor.on("", Fault(drop_after=100_000), times=1)

    fetched = fetch_blob(open_source(options), content, layer._replace(media_type=media_type))

    assert fetched.fetched_bytes == layer.size
    verify(content, layer)
    assert any("Authorization" in seen.headers for seen in fault_registry.seen)
    assert [seen.headers.get("Range") for seen in vendor.seen] == [None, "bytes=100000-"]
    for seen in vendor.seen:
        assert "authorization" not in {name.lower() for name in seen.headers}
        assert "secret" not in str(seen)


def test_no_client_certificate_goes_along_and_no_redirect_leads_into_our_networks() -> None:
    layer = Descriptor(OCI_FOREIGN_LAYER, Digest.of(b"x"), 1, urls=("https://Vendor.Example/x",))
    tls = Tls(ca=(Path("ca"),), clients=((Path("me"), None),), verify=False)
    options = Options(foreign=frozenset({"vendor.example"}), tls=tls)

    endpoint, request = first_foreign(
        layer, options, lambda found: foreign_request(found, (), options), NotFoundError("404")
    )

    assert endpoint.tls == request.tls == Tls(ca=tls.ca)
    assert (request.private, request.limit) == ((), Reach.PUBLIC)
    hop = next_hop(request, "https://10.0.0.1/x", Reach.PRIVATE, options)
    assert (hop.private, hop.limit, hop.tls) == ((), Reach.PUBLIC, Tls(ca=tls.ca))


@pytest.mark.parametrize("foreign", [frozenset(), frozenset({"other.example"})])
def test_what_is_not_allowed_is_never_asked(
    vendor: FaultRegistry, content: LocalStore, layer: Descriptor, options: Options, open_source: Open,
    foreign: frozenset[str],
) -> None:  # fmt: skip
    with pytest.raises(
        NotFoundError, match=r"404.* foreign layer.* 127.0.0.1; .* add that host to foreign_layer_hosts$"
    ):
        fetch_blob(open_source(replace(options, foreign=foreign)), content, layer)

    assert vendor.accepted == 0


@pytest.mark.parametrize(
    "urls",
    [
        (),
        ("http://127.0.0.1:1/layer",),
        ("file:///etc/passwd", "ftp://127.0.0.1/x", "", "//127.0.0.1/x", "https://user:word@127.0.0.1/x", "\x1b[2J"),
    ],
)
def test_what_is_no_https_url_does_not_count(
    content: LocalStore, layer: Descriptor, options: Options, open_source: Open, urls: tuple[str, ...]
) -> None:
    insecure = replace(options, insecure=frozenset({"127.0.0.1:1"}))

    with pytest.raises(NotFoundError, match="names no https URL for it") as refused:
        fetch_blob(open_source(insecure), content, layer._replace(urls=urls))

    assert str(refused.value).isprintable()


def test_a_layer_that_is_not_foreign_is_just_not_there(
    content: LocalStore, layer: Descriptor, options: Options, open_source: Open
) -> None:
    with pytest.raises(NotFoundError, match="404 Not Found") as missing:
        fetch_blob(open_source(options), content, layer._replace(media_type=OCI_LAYER, urls=()))

    assert "foreign" not in str(missing.value)


def test_a_challenge_is_not_answered(
    vendor: FaultRegistry, content: LocalStore, layer: Descriptor, options: Options, open_source: Open
) -> None:
    for access in (Access(None), Access(vendor.url + "/token")):
        vendor.access = access
        with pytest.raises(UnauthorizedError, match="401"):
            fetch_blob(open_source(options), content, layer)

    assert [seen.path.startswith(PATH) for seen in vendor.seen] == [True, True]


def test_a_private_address_is_not_asked_unless_it_is_trusted(
    vendor: FaultRegistry, content: LocalStore, layer: Descriptor, options: Options, open_source: Open
) -> None:
    with pytest.raises(InvalidError, match="in our own network"):
        fetch_blob(open_source(replace(options, trusted=frozenset())), content, layer)

    assert vendor.seen == []


def test_a_redirect_is_followed_by_the_same_rules(
    fault_registry: FaultRegistry, vendor: FaultRegistry, content: LocalStore, layer: Descriptor, options: Options,
    open_source: Open, certificate: Path,
) -> None:  # fmt: skip
    vendor.on("", Fault(redirect=f"{fault_registry.url}/"), times=1)
    with pytest.raises(InvalidError, match="plain HTTP"):
        fetch_blob(open_source(replace(options, insecure=frozenset({fault_registry.domain}))), content, layer)
    assert all("Authorization" in seen.headers for seen in fault_registry.seen[1:])

    with FaultRegistry(vendor.layout, certificate=certificate) as storage:
        vendor.on("", Fault(redirect=f"{storage.url}/"), times=1)
        fetch_blob(open_source(options), content, layer)
        verify(content, layer)

        (seen,) = storage.seen
        assert "authorization" not in {name.lower() for name in seen.headers}


def test_the_next_url_is_asked_where_one_fails_and_the_first_failure_counts(
    vendor: FaultRegistry, content: LocalStore, layer: Descriptor, options: Options, open_source: Open
) -> None:
    (right,), wrong = layer.urls, f"{vendor.url}{PATH}sha256:{'0' * 64}"

    fetch_blob(open_source(options), content, layer._replace(urls=("http://127.0.0.1/", wrong, right)))

    verify(content, layer)
    vendor.on("", Fault(status=500))
    vendor.on("", Fault(status=404))
    with pytest.raises(PrestowError, match="500"):
        fetch_blob(
            open_source(options),
            LocalStore(content.root.parent / "other", content.root.parent / "others", durable=False),
            layer._replace(urls=(wrong, right)),
        )


def test_the_digest_decides(
    vendor: FaultRegistry, content: LocalStore, layer: Descriptor, options: Options, open_source: Open
) -> None:
    vendor.on("", Fault(body=bytes(layer.size)))

    fetch_blob(open_source(options), content, layer)
    with pytest.raises(MismatchError):
        verify(content, layer)

    assert not content.has(layer.digest)
    assert content.status(layer_ref(layer.digest)) is None
    assert len(vendor.seen) == 1


def test_a_layout_that_lacks_one_says_what_it_is(tmp_path: Path, content: LocalStore, layer: Descriptor) -> None:
    write_demo_image(tmp_path / "layout")
    with Sources(Options()) as sources, pytest.raises(NotFoundError, match="foreign layer, which a layout need not"):
        fetch_blob(sources.open(LayoutReference(tmp_path / "layout")), content, layer)
    assert read_blob(tmp_path / "vendor", layer.digest) == DATA
