"""nginx before a real registry: an authority of our own, client certificates, redirects, and bodies that break off."""

import base64
import json
import random
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.content.verify import verify
from prestow.errors import InvalidError, UnauthorizedError
from prestow.oci.descriptor import Descriptor
from prestow.registry.blob import fetch_blob
from prestow.registry.credentials import CredentialFiles, Credentials
from prestow.registry.hosts import Options
from prestow.registry.source import Sources
from tests.certificates import Authority, authority
from tests.fetching import documents, fetched
from tests.hosts_files import write_hosts
from tests.image_factory import write_demo_image, write_image
from tests.nginx import RATES, SLOW_AT_FIRST, before, nginx
from tests.registries import PASSWORD, USER, DockerRegistry
from tests.tar_builder import Tar

SERVER = ("subjectAltName=IP:127.0.0.1,DNS:registry.test", "basicConstraints=critical,CA:FALSE")


@pytest.fixture(scope="module")
def own_ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(own_ca: Authority) -> tuple[Path, Path]:
    """Certificate and key of servers."""
    return own_ca.issue("server", *SERVER)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Descriptor:
    return write_demo_image(tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module")
def registry(docker_registry: DockerRegistry, demo_layout: Path) -> str:
    """Where a registry listens that has the demo image."""
    docker_registry.push(demo_layout, "demo", "nginx/demo:1")
    return docker_registry.domain


def demanding(ca: Authority) -> str:
    """Return directives of a server that lets in only clients with a certificate."""
    return f"ssl_client_certificate {ca.certificate}; ssl_verify_client on;\n"


def keys(ca: Authority) -> str:
    """Return keys of a hosts file: whom to trust, and who we are."""
    certificate, key = ca.issue("me", "basicConstraints=critical,CA:FALSE")
    return f'ca = "{ca.certificate}"\nclient = [["{certificate}", "{key}"]]\n'


def test_a_client_certificate_opens_a_server_of_our_own_authority(
    registry: str, own_ca: Authority, server: tuple[Path, Path], target: Descriptor, content: LocalStore, tmp_path: Path
) -> None:
    stranger = keys(authority(tmp_path / "other")).splitlines()[1]
    trusted = f'ca = "{own_ca.certificate}"\n'
    with nginx(tmp_path / "nginx", demanding(own_ca) + before(registry), certificate=server[0], key=server[1]) as front:

        def pull(hosts: str) -> Descriptor:
            with Sources(write_hosts(tmp_path / "hosts", front.domain, hosts)) as sources:
                return fetched(sources, f"{front.domain}/nginx/demo:1", content).target

        with pytest.raises(InvalidError, match="certificate is not trusted"):
            pull(f'server = "https://{front.domain}"')
        for hosts in (trusted, trusted + stranger):
            with pytest.raises(UnauthorizedError, match="wants a client certificate that it trusts; name one"):
                pull(hosts)
        assert pull(keys(own_ca)) == target

    assert {seen["certificate"] for seen in front.seen() if seen["status"] == "200"} == {"CN=me"}


def test_another_origin_gets_the_request_for_a_blob_but_neither_password_nor_certificate(
    registry: str, own_ca: Authority, server: tuple[Path, Path], target: Descriptor, content: LocalStore, tmp_path: Path
) -> None:
    asking = f"ssl_client_certificate {own_ca.certificate}; ssl_verify_client optional;\n"
    password = f"auth_basic tests; auth_basic_user_file {tmp_path}/htpasswd;\n"
    (tmp_path / "htpasswd").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    tls = {"certificate": server[0], "key": server[1]}
    with nginx(tmp_path / "blobs", asking + before(registry), **tls) as other:
        away = f"location ~ /blobs/ {{ return 302 https://{other.domain}$request_uri?signature=x; }}\n"
        with nginx(tmp_path / "front", demanding(own_ca) + password + away + before(registry), **tls) as front:
            auths = {front.domain: {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}
            (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
            files = CredentialFiles((tmp_path / "config.json",))
            options = write_hosts(tmp_path / "hosts", front.domain, keys(own_ca) + '[header]\nX-Fleet = "seven"\n')
            with Sources(options, credentials=Credentials(files.find, files.places)) as sources:
                image = fetched(sources, f"{front.domain}/nginx/demo:1", content)

    assert image.target == target
    answered = [seen for seen in front.seen() if seen["status"] != "401"]
    assert {(seen["certificate"], seen["fleet"], seen["authorization"][:6]) for seen in answered} == {
        ("CN=me", "seven", "Basic ")
    }
    assert len(other.seen("/blobs/")) == len(other.seen()) == 1 + len(image.layers)
    assert {(seen["certificate"], seen["fleet"], seen["authorization"]) for seen in other.seen()} == {("", "", "")}
    assert all(seen["path"].endswith("?signature=x") for seen in other.seen())


@pytest.fixture(scope="module")
def large(docker_registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tag of an image with a layer of 4 MiB."""
    layout = tmp_path_factory.mktemp("large")
    write_image(layout, [Tar().file("f", random.Random(4).randbytes(4 << 20)).to_bytes()], compression="none")
    docker_registry.push(layout, "test", "nginx/large:1")
    return "nginx/large:1"


def test_a_layer_goes_on_where_nginx_s_worker_was_killed(
    registry: str, large: str, content: LocalStore, tmp_path: Path
) -> None:
    with (
        nginx(tmp_path / "nginx", SLOW_AT_FIRST + before(registry), http=RATES) as front,
        Sources(Options()) as sources,
    ):
        source, image = documents(sources, f"{front.domain}/{large}", content)
        (layer,) = image.layers
        kill = iter([front.kill_worker])

        def killed_once(_bytes: int) -> None:
            for act in kill:
                act()

        fetched_blob = fetch_blob(source, content, layer.descriptor, progress=killed_once)
        verify(content, layer.descriptor)

    (resumed,) = front.seen("/blobs/" + layer.descriptor.digest)  # what was killed has logged nothing
    assert (resumed["status"], resumed["range"][:6]) == ("206", "bytes=")
    assert int(resumed["sent"]) == layer.descriptor.size - int(resumed["range"][6:-1]) < layer.descriptor.size
    assert fetched_blob.fetched_bytes == layer.descriptor.size
