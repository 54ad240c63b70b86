"""A real registry as the pull-through mirror of another one, either of which stops."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.oci.image import Image
from prestow.registry.health import Health
from prestow.registry.source import Sources
from tests.connect_proxy import connect_proxy
from tests.fetching import fetched
from tests.hosts_files import write_hosts
from tests.prefect_records import until
from tests.registries import DockerRegistry, docker_registry

LOGGED = {"level": "info", "accesslog": {"disabled": False}}
_REQUEST = re.compile(r'"((?:GET|HEAD) \S+) HTTP/1\.1" 2')


@dataclass
class Server:
    """A registry that stops when its ``stack`` is closed."""

    registry: DockerRegistry
    stack: ExitStack

    @property
    def domain(self) -> str:
        """Where it listens, or listened."""
        return self.registry.domain

    def blobs(self) -> list[str]:
        """Return the requests for blobs that it answered."""
        log = (self.registry.data.parent / "log").read_text()
        return [request for request in _REQUEST.findall(log) if "/blobs/" in request]


def started(stack: ExitStack, folder: Path, **sections: object) -> Server:
    own = stack.enter_context(ExitStack())
    return Server(own.enter_context(docker_registry(folder, log=LOGGED, **sections)), own)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def origin(stack: ExitStack, demo_layout: Path, tmp_path: Path) -> Server:
    server = started(stack, tmp_path / "origin")
    server.registry.push(demo_layout, "demo", "team/demo:1")
    return server


@pytest.fixture
def mirror(stack: ExitStack, origin: Server, tmp_path: Path) -> Server:
    return started(stack, tmp_path / "mirror", proxy={"remoteurl": f"http://{origin.domain}"})


@dataclass
class Puller:
    """Pulls the image of ``origin``, each time into another store.

    Attributes:
        origin: the registry.
        mirror: what its hosts file names.
        folder: of the stores.
        health: of all pulls.
        keys: of the mirror in the hosts file.
    """

    origin: Server
    mirror: Server
    folder: Path
    health: Health
    keys: str = ""

    def pull(self, name: str) -> Image:
        """Pull into the store ``name``."""
        content = LocalStore(self.folder / name / "content", self.folder / name / "ingest", durable=False)
        hosts = f'[host."http://{self.mirror.domain}"]\n{self.keys}'
        with Sources(write_hosts(self.folder / "hosts", self.origin.domain, hosts), health=self.health) as sources:
            return fetched(sources, f"{self.origin.domain}/team/demo:1", content)

    def cached(self, image: Image) -> None:
        """Wait until the mirror has stored the blobs, which it does beside its answers."""
        blobs = self.mirror.registry.data / "docker/registry/v2/blobs/sha256"
        paths = [blobs / digest.encoded[:2] / digest.encoded / "data" for digest in digests(image)]
        until(lambda: [path for path in paths if path.exists()], len(paths), "blobs of the mirror")


def digests(image: Image) -> list[Digest]:
    return [image.config.digest, *(layer.descriptor.digest for layer in image.layers)]


@pytest.fixture
def puller(origin: Server, mirror: Server, tmp_path: Path) -> Puller:
    return Puller(origin, mirror, tmp_path / "pulls", Health(tmp_path / "registries"))


def test_the_first_pull_fills_the_mirror_and_the_second_comes_from_its_cache(puller: Puller) -> None:
    first = puller.pull("first")
    puller.cached(first)
    with puller.origin.registry.without(digests(first)):
        assert puller.pull("second") == first

    asked = until(puller.mirror.blobs, 2 * len(digests(first)), "requests in the mirror's log")
    path, ns = f"GET /v2/team/demo/blobs/{{}}?ns={puller.origin.domain}".split("?")
    assert sorted(asked) == sorted(2 * [f"{path.format(digest)}?{ns}" for digest in digests(first)])
    assert not any("ns=" in request for request in puller.origin.blobs()), "the mirror alone asked its upstream"
    assert puller.health.every() == ()


def test_a_mirror_whose_upstream_stopped_gives_what_it_has(puller: Puller) -> None:
    first = puller.pull("first")
    puller.cached(first)

    puller.origin.stack.close()

    assert puller.pull("second") == first


def test_where_the_mirror_stopped_the_registry_answers_and_the_mirror_is_asked_once(puller: Puller) -> None:
    puller.mirror.stack.close()
    with connect_proxy() as between:
        between.names[puller.mirror.domain] = puller.mirror.domain
        puller.keys = f'prestow = {{ proxy = "{between.url}" }}'

        assert puller.pull("first") == puller.pull("second")

    (asked,) = between.asked
    assert asked == f"HEAD http://{puller.mirror.domain}/v2/team/demo/manifests/1?ns={puller.origin.domain}"
    assert [record.origin for record in puller.health.every()] == [f"http://{puller.mirror.domain}"]
