"""Hosts files with a real registry behind TLS, and the real client whose files they are."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.errors import InvalidError, UnauthorizedError
from prestow.oci.descriptor import Descriptor
from prestow.registry.hosts import Options
from prestow.registry.proxy import Proxies
from prestow.registry.source import Sources
from tests.certificates import Authority, authority
from tests.connect_proxy import connect_proxy
from tests.fetching import fetched
from tests.image_factory import write_demo_image
from tests.nginx import nginx
from tests.registries import DockerRegistry, docker_registry

SERVER = ("subjectAltName=IP:127.0.0.1,DNS:registry.test", "basicConstraints=critical,CA:FALSE")


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
    certificate, key = own_ca.issue("server", *SERVER)
    tls = {"certificate": str(certificate), "key": str(key), "clientcas": [str(own_ca.certificate)]}
    with docker_registry(folder, tls=tls) as registry:
        yield registry.domain


@dataclass(frozen=True)
class Case:
    """A directory of hosts files that is to serve for one registry.

    Attributes:
        domain: of the registry.
        directory: holds the subdirectories.
        ca: signed the registry's certificate and will sign ours.
    """

    domain: str
    directory: Path
    ca: Authority

    def write(self, name: str, keys: str, *, url: str = "") -> Path:
        """Write our certificates, and a file with keys of the registry, to subdirectory ``name``.

        containerd 1.6 reads no file without a table ``host``.
        """
        own = self.directory / name
        own.mkdir(parents=True)
        for file in (self.ca.certificate, *self.ca.issue("me", "basicConstraints=critical,CA:FALSE")):
            shutil.copy(file, own)
        (own / "both.pem").write_text((own / "me.cert").read_text() + (own / "me.key").read_text())
        (own / "hosts.toml").write_text(f'[host."{url or f"https://{self.domain}"}"]\n{keys}')
        return own


PAIR = 'client = [["me.cert", "me.key"]]\n'
KEYS = 'ca = "ca.crt"\n' + PAIR


def a_dead_mirror_before(case: Case) -> None:
    own = case.write(case.domain, KEYS)
    (own / "hosts.toml").write_text('[host."http://127.0.0.1:1"]\n' + (own / "hosts.toml").read_text())


FORMS: dict[str, Callable[[Case], object]] = {
    "host:port": lambda case: case.write(case.domain, KEYS),
    "host_port_": lambda case: case.write("{}_{}_".format(*case.domain.split(":")), KEYS),
    "_default": lambda case: case.write("_default", KEYS),
    "one file with both": lambda case: case.write(case.domain, 'ca = ["ca.crt"]\nclient = "both.pem"'),
    "several certificates": lambda case: case.write(case.domain, 'ca = ["ca.crt"]\nclient = ["both.pem"]'),
    "capabilities": lambda case: case.write(case.domain, KEYS + 'capabilities = ["pull", "resolve", "push"]'),
    "skip_verify": lambda case: case.write(case.domain, PAIR + "skip_verify = true"),
    "dead mirror": a_dead_mirror_before,
}


def fetched_by_ctr(containerd: Path, reference: str, directory: Path, **variables: str) -> None:
    command = ["ctr", "-a", str(containerd), "content", "fetch", "--hosts-dir", str(directory), reference]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def pulled(
    reference: str,
    directory: Path,
    content: LocalStore,
    proxies: Proxies = Proxies(),  # noqa: B008 - a value
) -> Descriptor:
    with Sources(Options(directories=(directory,), proxies=proxies)) as sources:
        return fetched(sources, reference, content).target


@pytest.mark.parametrize("form", FORMS)
def test_a_directory_with_which_ctr_fetches_serves_us_unchanged(
    domain: str, own_ca: Authority, target: Descriptor, content: LocalStore, containerd: Path, tmp_path: Path, form: str
) -> None:
    FORMS[form](Case(domain, tmp_path / "certs.d", own_ca))

    fetched_by_ctr(containerd, f"{domain}/team/demo:1", tmp_path / "certs.d")

    assert pulled(f"{domain}/team/demo:1", tmp_path / "certs.d", content) == target


@pytest.mark.parametrize("path", ["/v2", "/team/proxy"])
def test_headers_and_paths_of_such_a_directory_reach_the_server(
    docker_registry: DockerRegistry, demo_layout: Path, own_ca: Authority, target: Descriptor, content: LocalStore,
    containerd: Path, tmp_path: Path, path: str,
) -> None:  # fmt: skip
    docker_registry.push(demo_layout, "demo", "hosts/demo:1")
    certificate, key = own_ca.issue("server", *SERVER)
    passed = f"location {path}/ {{ proxy_pass http://{docker_registry.domain}/v2/; }}\n"
    with nginx(tmp_path / "nginx", passed, certificate=certificate, key=key) as front:
        keys = f"override_path = {str(path != '/v2').lower()}\nheader = {{ X-Fleet = 'seven' }}\n"
        url = f"https://{front.domain}{path if path != '/v2' else ''}"
        Case(front.domain, tmp_path / "certs.d", own_ca).write(front.domain, 'ca = "ca.crt"\n' + keys, url=url)
        reference = f"{front.domain}/hosts/demo:1"

        fetched_by_ctr(containerd, reference, tmp_path / "certs.d")
        assert pulled(reference, tmp_path / "certs.d", content) == target

    assert {(seen["fleet"], seen["path"].startswith(f"{path}/hosts/demo/")) for seen in front.seen()} == {
        ("seven", True)
    }


@pytest.mark.parametrize("form", ["docker's files", "hosts.toml", "hosts.toml with the proxy"])
def test_through_a_proxy_it_serves_as_well(
    domain: str, own_ca: Authority, target: Descriptor, content: LocalStore, containerd: Path, tmp_path: Path, form: str
) -> None:
    with connect_proxy(wants=True) as theirs, connect_proxy(wants=True) as ours:
        through = f"registry.test:{domain.rpartition(':')[2]}"
        theirs.names[through] = ours.names[through] = domain
        own = Case(through, tmp_path / "certs.d", own_ca).write(through, KEYS)
        if form == "docker's files":
            (own / "hosts.toml").unlink()
        fetched_by_ctr(containerd, f"{through}/team/demo:1", tmp_path / "certs.d", HTTPS_PROXY=theirs.url_with_password)
        proxies = ours.proxies()
        if form == "hosts.toml with the proxy":
            proxies = Proxies()
            with (own / "hosts.toml").open("a") as file:
                file.write(f'prestow = {{ proxy = "{ours.url_with_password}" }}')

        assert pulled(f"{through}/team/demo:1", tmp_path / "certs.d", content, proxies) == target

    assert set(theirs.asked) == set(ours.asked) == {f"CONNECT {through}"}


def test_docker_s_files_mean_tls_on_loopback_too(
    domain: str, own_ca: Authority, target: Descriptor, content: LocalStore, tmp_path: Path
) -> None:
    (Case(domain, tmp_path / "certs.d", own_ca).write(domain, KEYS) / "hosts.toml").unlink()

    assert pulled(f"{domain}/team/demo:1", tmp_path / "certs.d", content) == target


def test_a_mirror_behind_tls_answers_for_docker_hub(
    domain: str, own_ca: Authority, target: Descriptor, content: LocalStore, tmp_path: Path
) -> None:
    Case(domain, tmp_path / "certs.d", own_ca).write("docker.io", KEYS)

    assert pulled("docker.io/team/demo:1", tmp_path / "certs.d", content) == target


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
