"""Tokens with a real registry, which checks their signatures, and with skopeo, which the same files serve."""

import base64
import json
import random
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.errors import UnauthorizedError
from prestow.registry.blob import fetch_blob
from prestow.registry.credentials import CredentialFiles, Credentials
from prestow.registry.hosts import Options
from prestow.registry.source import Sources
from tests.certificates import Authority, authority
from tests.fetching import documents, fetched
from tests.image_factory import write_demo_image, write_image
from tests.prefect_records import until
from tests.registries import PASSWORD, USER, DockerRegistry, docker_registry
from tests.tar_builder import Tar
from tests.token_service import IDENTITY, TokenService, token_service

LOGIN = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
WRONG = {"auth": base64.b64encode(f"{USER}:wrong".encode()).decode()}
REPOSITORIES = ("team/demo", "public/demo", "closed/demo")


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("signer"))


@pytest.fixture(scope="module")
def images(demo_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a registry that has the demo image."""
    folder = tmp_path_factory.mktemp("registry")
    with docker_registry(folder) as registry:
        for repository in REPOSITORIES:
            registry.push(demo_layout, "demo", f"{repository}:1")
        tars = [Tar().file("f", random.Random(seed).randbytes(4 << 20)).to_bytes() for seed in (1, 2)]
        write_image(folder / "large", tars, compression="none")
        registry.push(folder / "large", "test", "team/large:1")
    return folder


@pytest.fixture
def service(signer: Authority) -> Iterator[TokenService]:
    with token_service(signer) as running:
        yield running


@pytest.fixture
def registry(images: Path, service: TokenService) -> Iterator[DockerRegistry]:
    with docker_registry(images, auth=service.auth) as running:
        yield running


def login(folder: Path, registry: DockerRegistry, entry: object) -> Path:
    """Write a file as docker's."""
    file = folder / "config.json"
    file.write_text(json.dumps({"auths": {registry.domain: entry} if entry else {}}))
    return file


def sources(file: Path) -> Sources:
    files = CredentialFiles((file,))
    return Sources(Options(), credentials=Credentials(files.find, files.places))


def skopeo(reference: str, file: Path, target: Path) -> "subprocess.CompletedProcess[str]":
    copy = ["skopeo", "copy", "--src-tls-verify=false", "--src-authfile", str(file)]
    command = [*copy, f"docker://{reference}", f"dir:{target}"]
    return subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("repository", "entry", "methods", "asked"),
    [
        ("team/demo", LOGIN, {"GET", "POST"}, ("POST", USER)),
        ("team/demo", LOGIN, {"GET"}, ("GET", USER)),
        ("team/demo", LOGIN, {"POST"}, ("POST", USER)),
        ("team/demo", {"identitytoken": IDENTITY, **LOGIN}, {"POST"}, ("POST", USER)),
        ("public/demo", None, {"GET"}, ("GET", None)),
    ],
)
def test_an_image_comes_with_a_token_that_the_registry_checks(
    registry: DockerRegistry, service: TokenService, demo_layout: Path, content: LocalStore, tmp_path: Path,
    repository: str, entry: object, methods: set[str], asked: tuple[str, str | None],
) -> None:  # fmt: skip
    service.methods = frozenset(methods)
    reference, file = f"{registry.domain}/{repository}:1", login(tmp_path, registry, entry)

    with sources(file) as opened:
        image = fetched(opened, reference, content)

    assert image.target == write_demo_image(tmp_path / "same")
    assert {(each.method, each.user, each.scope) for each in service.asked if each.status == 200} == {
        (*asked, f"repository:{repository}:pull")
    }
    assert len(service.given) == 1, "one token serves for a repository"
    theirs = skopeo(reference, file, tmp_path / "skopeo")
    only_by_post = methods == {"POST"} and entry == LOGIN  # skopeo sends passwords by GET alone, containerd by both
    assert (theirs.returncode == 0) == (not only_by_post), theirs.stderr


@pytest.mark.parametrize(
    ("repository", "entry", "status", "remedy"),
    [
        ("team/demo", None, 401, "prestow login"),
        ("team/demo", WRONG, 401, "log in"),
        ("closed/demo", LOGIN, 403, "ask for access"),
    ],
)
def test_a_service_s_refusal_is_an_error_of_its_own_class(
    registry: DockerRegistry, service: TokenService, content: LocalStore, tmp_path: Path,
    repository: str, entry: object, status: int, remedy: str,
) -> None:  # fmt: skip
    reference, file = f"{registry.domain}/{repository}:1", login(tmp_path, registry, entry)

    with sources(file) as opened, pytest.raises(UnauthorizedError, match=rf"{status}.*{remedy}") as caught:
        fetched(opened, reference, content)

    assert not caught.value.transient
    assert service.given == []
    assert list(content.walk()) == []
    assert skopeo(reference, file, tmp_path / "skopeo").returncode != 0


def test_a_token_of_another_signer_is_refused_by_the_registry_once(
    registry: DockerRegistry, service: TokenService, content: LocalStore, tmp_path: Path
) -> None:
    service.signer = authority(tmp_path / "other")
    file = login(tmp_path, registry, LOGIN)

    with sources(file) as opened, pytest.raises(UnauthorizedError, match="401"):
        fetched(opened, f"{registry.domain}/team/demo:1", content)

    assert len(service.given) == 1


def refuses(registry: DockerRegistry, token: str) -> bool:
    """Whether a registry no longer takes a token of the large image."""
    host, _, port = registry.domain.rpartition(":")
    connection = HTTPConnection(host, int(port))
    connection.request("HEAD", "/v2/team/large/manifests/1", headers={"Authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status == 401


@pytest.mark.long
def test_a_token_that_expires_in_the_middle_of_a_pull_is_replaced_by_the_next_request(
    registry: DockerRegistry, service: TokenService, content: LocalStore, tmp_path: Path
) -> None:
    service.lifetime = 10
    with sources(login(tmp_path, registry, LOGIN)) as opened:
        source, image = documents(opened, f"{registry.domain}/team/large:1", content)
        first, second = (layer.descriptor for layer in image.layers)
        with source.fetch(first) as chunks:
            begin = next(chunks)
            until(lambda: [1] if refuses(registry, service.given[-1]) else [], 1, "the end of the token")
        before = len(service.given)
        with source.fetch(first, len(begin)) as chunks:
            rest = b"".join(chunks)
        fetch_blob(source, content, second)

    assert 0 < len(begin) < first.size
    assert Digest.of(begin + rest) == first.digest
    assert len(service.given) == before + 1
