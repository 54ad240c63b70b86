"""Hosts files with a real registry behind TLS, and the real client whose files they are."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.errors import InvalidError, UnauthorizedError
from prestow.oci.descriptor import Descriptor
from prestow.platforms import Platform
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.registry.hosts import Options
from prestow.registry.source import Sources
from tests.certificates import Authority, authority
from tests.image_factory import write_demo_image
from tests.registries import docker_registry


@pytest.fixture(scope="module")
def own_ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Descriptor:
    return write_demo_image(tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module")
def domain(own_ca: Authority, demo_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with a certificate of that authority, which lets in only who has another one."""
    folder = tmp_path_factory.mktemp("registry")
    with docker_registry(folder) as plain:
        plain.push(demo_layout, "demo", "team/demo:1")
    certificate, key = own_ca.issue("server", "subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE")
    tls = {"certificate": str(certificate), "key": str(key), "clientcas": [str(own_ca.certificate)]}
    with docker_registry(folder, tls=tls) as registry:
        yield registry.domain


def pulled(reference: str, directories: Path, content: LocalStore) -> Descriptor:
    with Sources(Options(directories=(directories,))) as sources:
        source = sources.open(Reference.parse(reference))
        found = source.resolve()
        for layer in fetch_manifest(source, content, found, Platform.parse("linux/amd64")).layers:
            fetch_blob(source, content, layer.descriptor)
        return found


def containerds(directory: Path, domain: str, ca: Authority) -> None:
    """Write a directory in containerd's form (whose version 1.6 reads no file without a table ``host``)."""
    certificate, key = ca.issue("me", "basicConstraints=critical,CA:FALSE")
    directory.mkdir(parents=True)
    for file in (ca.certificate, certificate, key):
        shutil.copy(file, directory)
    keys = 'ca = "ca.crt"\nclient = [["me.cert", "me.key"]]\n'
    (directory / "hosts.toml").write_text(f'[host."https://{domain}"]\n{keys}')


def test_a_directory_with_which_ctr_fetches_serves_us_unchanged(
    domain: str, own_ca: Authority, target: Descriptor, content: LocalStore, containerd: Path, tmp_path: Path
) -> None:
    containerds(tmp_path / "certs.d" / domain, domain, own_ca)
    ctr = ["ctr", "-a", str(containerd), "content", "fetch", "--hosts-dir", str(tmp_path / "certs.d")]

    done = subprocess.run([*ctr, f"{domain}/team/demo:1"], check=False, timeout=60, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert pulled(f"{domain}/team/demo:1", tmp_path / "certs.d", content) == target


def test_a_mirror_behind_tls_answers_for_docker_hub(
    domain: str, own_ca: Authority, target: Descriptor, content: LocalStore, tmp_path: Path
) -> None:
    containerds(tmp_path / "certs.d/docker.io", domain, own_ca)

    assert pulled("docker.io/team/demo:1", tmp_path / "certs.d", content) == target


def test_docker_s_files_serve_as_well(
    domain: str, own_ca: Authority, target: Descriptor, content: LocalStore, tmp_path: Path
) -> None:
    containerds(tmp_path / "certs.d" / domain, domain, own_ca)
    (tmp_path / "certs.d" / domain / "hosts.toml").unlink()

    assert pulled(f"{domain}/team/demo:1", tmp_path / "certs.d", content) == target


def test_a_missing_authority_or_client_certificate_is_named(
    domain: str, own_ca: Authority, content: LocalStore, tmp_path: Path
) -> None:
    own = tmp_path / "certs.d" / domain
    own.mkdir(parents=True)
    (own / "hosts.toml").write_text(f'server = "https://{domain}"')
    with pytest.raises(InvalidError, match="certificate is not trusted"):
        pulled(f"{domain}/team/demo:1", tmp_path / "certs.d", content)

    shutil.copy(own_ca.certificate, own / "ca.crt")
    (own / "hosts.toml").write_text(f'server = "https://{domain}"\nca = "ca.crt"')
    with pytest.raises(UnauthorizedError, match="client certificate"):
        pulled(f"{domain}/team/demo:1", tmp_path / "certs.d", content)
