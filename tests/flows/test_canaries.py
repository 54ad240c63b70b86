"""A canary in every kind of credential, every failure of part B, and a look at all that is written or sent."""

import base64
import json
import os
import re
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import pytest

from flows.local_server.ensure import Server
from prestow.errors import PrestowError
from tests import failures
from tests.certificates import authority
from tests.connect_proxy import ENCODED, PASSWORD, WANTED, ConnectProxy, ProxyFault, answer, connect_proxy
from tests.contents import contents
from tests.flows.cli.conftest import Prestow
from tests.image_factory import write_demo_image
from tests.prefect_records import events, runs_of
from tests.registries import USER, Access, Fault, FaultRegistry
from tests.registry_blocks import saved

ROOT = Path(__file__).parents[2]
KINDS = ("docker", "auth-file", "variable", "helper", "identity", "block")
BUSY = ("b39-wait", "b39-nonsense")
"""Failures with names of the registry to themselves: who was asked to wait for a name asks it nothing more."""
OTHERS = (*BUSY, "own-proxy", "refusing", "other-key")
"""Names for which there is the same credential as for ``docker``."""
HASTY = {f"PRESTOW_REGISTRY_{wait}_SECONDS": "3" for wait in ("DOCUMENT", "BLOB", "IDLE")}
PROXY_SECRETS = (PASSWORD, PASSWORD[:6], ENCODED.partition(":")[2], WANTED.decode().removeprefix("Basic "))
SQLITE = b"SQLite format 3\0"


def canary(kind: str) -> str:
    return f"canary-{kind}-{token_hex(8)}"


def login(secret: str) -> str:
    """Return user and password as docker writes and sends them; the user is a secret, too."""
    return base64.b64encode(f"{secret}:{secret}".encode()).decode()


@dataclass
class World:
    """Servers, of which only the proxy knows the names, and how a command is to speak to them.

    Attributes:
        registry: that of the credentials.
        mirror: asked before it, with credentials of its own.
        stranger: what the registry names, redirects to, or lies beside.
        proxy: of all requests, by the environment.
        own_proxy: by a hosts file.
        logins: the canary of each kind.
        headers: those of the hosts file, for the registry and for the mirror.
        key: what only the client's key has.
        token: that of the registry's token service.
        signature: in URLs that the registry redirects to.
        variables: the command's.
    """

    registry: FaultRegistry
    mirror: FaultRegistry
    stranger: FaultRegistry
    proxy: ConnectProxy
    own_proxy: ConnectProxy
    refusing: ConnectProxy
    logins: dict[str, str]
    headers: tuple[str, str]
    key: tuple[str, ...]
    token: str
    signature: str
    variables: dict[str, str]

    @property
    def mirror_s(self) -> set[str]:
        """What the mirror alone may see."""
        return {login(self.logins["mirror"]), self.logins["mirror"], self.headers[1]}

    @property
    def registry_s(self) -> set[str]:
        """What the registry alone may see."""
        kinds = {self.logins[kind] for kind in KINDS}
        return kinds | {login(secret) for secret in kinds} | {self.headers[0], self.token}

    @property
    def secrets(self) -> set[str]:
        """All of them."""
        return self.mirror_s | self.registry_s | {*self.key, *PROXY_SECRETS, self.signature}

    def domain(self, kind: str) -> str:
        """Return a name of the registry for which there is a credential of a kind."""
        return f"{kind}.registry.test:{self.registry.domain.rpartition(':')[2]}"


@pytest.fixture
def world(tmp_path: Path, prefect_server: Server) -> Iterator[World]:
    ca = authority(tmp_path / "ca")
    names = ",".join(f"DNS:{name}.test" for name in ("*.registry", "mirror", "stranger"))
    certificate, key = ca.issue("server", f"subjectAltName={names}", "basicConstraints=critical,CA:FALSE")
    (tmp_path / "server.pem").write_text(certificate.read_text() + key.read_text())
    write_demo_image(tmp_path / "layout")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/index.json").write_text('{"manifests":[]}')
    with ExitStack() as stack:
        registry, mirror, stranger = (
            stack.enter_context(FaultRegistry(tmp_path / layout, certificate=tmp_path / "server.pem"))
            for layout in ("layout", "empty", "layout")
        )
        context = registry._server.socket.context  # type: ignore[attr-defined]  # of an SSLSocket
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca.certificate)
        proxies = [stack.enter_context(connect_proxy(wants=True)) for _ in range(3)]
        logins = {kind: canary(kind) for kind in (*KINDS, "mirror")}
        headers = (canary("header"), canary("mirror-header"))
        mine, my_key = ca.issue("me", "basicConstraints=critical,CA:FALSE")
        note = canary("key")
        my_key.write_text(f"{note}\n{my_key.read_text()}")
        found = World(
            registry, mirror, stranger, *proxies, logins, headers,
            (note, *my_key.read_text().splitlines()[2:-1]), canary("token"), canary("signature"), {},
        )  # fmt: skip
        registry.access = Access("https://{host}/token", extra={"token": found.token}, tokens={found.token: 10**6})
        mirror.access = Access("https://{host}/token")
        stranger.access = Access(None)
        stranger.on("^/token", Fault(status=403))
        for proxy in (found.proxy, found.own_proxy):
            for kind in (*KINDS, *OTHERS, "broken-helper"):
                proxy.names[found.domain(kind)] = registry.domain
        elsewhere = found.proxy.name(mirror, "mirror.test"), found.proxy.name(stranger, "stranger.test")
        found.proxy.name(stranger, "docker.registry.test")
        found.proxy.name(registry, "other.test")
        found.refusing.fault = ProxyFault(raw=answer(407, b"X-Echo: " + WANTED + b"\r\n") + PASSWORD.encode())
        block = stack.enter_context(saved(username=USER, password=logins["block"]))
        hosts(
            tmp_path / "hosts",
            found,
            block,
            f'ca = "{ca.certificate}"\nclient = [["{mine}", "{my_key}"]]\n',
            elsewhere[0],
        )
        found.variables = {
            **credentials(tmp_path / "credentials", found, elsewhere[0]),
            "HTTPS_PROXY": found.proxy.url_with_password,
            "PRESTOW_HOSTS_DIRS": json.dumps([str(tmp_path / "hosts")]),
            "PREFECT_LOGGING_LEVEL": "DEBUG",
        }
        yield found


def hosts(directory: Path, world: World, block: str, keys: str, mirror: str) -> None:
    """Write hosts files: one for all, one with a proxy, one with a proxy that refuses, one that names credentials."""
    header = f'[header]\nX-Canary = "{world.headers[0]}"\n'
    ca = keys.splitlines()[0]
    mirrored = f'[host."https://{mirror}"]\n{ca}\nheader = {{ X-Canary = "{world.headers[1]}" }}\n'
    written = {
        "_default": keys + mirrored,
        **{world.domain(kind): keys + header + mirrored for kind in (*KINDS, *BUSY)},
        world.domain("block"): f'{keys}prestow = {{ credentials = "{block}" }}\n{header}{mirrored}',
        world.domain("own-proxy"): f'{keys}prestow = {{ proxy = "{world.own_proxy.url_with_password}" }}\n{header}',
        world.domain("refusing"): f'{keys}prestow = {{ proxy = "{world.refusing.url_with_password}" }}\n{header}',
        world.domain("other-key"): keys.replace("me.key", "server.key") + header,
    }
    for name, text in written.items():
        (directory / name).mkdir(parents=True)
        (directory / name / "hosts.toml").write_text(text)


def credentials(folder: Path, world: World, mirror: str) -> dict[str, str]:
    """Write the files of docker and podman, and a helper; return the variables that lead to them."""
    auths = {kind: {"auth": login(secret)} for kind, secret in world.logins.items() if kind != "block"}
    docker = {world.domain(kind): auths["docker"] for kind in ("docker", *OTHERS)}
    docker |= {mirror: auths["mirror"], world.domain("identity"): {"identitytoken": world.logins["identity"]}}
    helpers = {world.domain("helper"): "canary", world.domain("broken-helper"): "broken"}
    said = json.dumps({"Username": world.logins["helper"], "Secret": world.logins["helper"]})
    files = {
        "docker/config.json": json.dumps({"auths": docker, "credHelpers": helpers}),
        "run/containers/auth.json": json.dumps({"auths": {world.domain("auth-file"): auths["auth-file"]}}),
        "bin/docker-credential-canary": f"#!/bin/sh\necho '{said}'\n",
        "bin/docker-credential-broken": f"#!/bin/sh\necho '{said}'\necho '{said}' >&2\nexit 1\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o700)
    return {
        "DOCKER_CONFIG": str(folder / "docker"),
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "DOCKER_AUTH_CONFIG": json.dumps({"auths": {world.domain("variable"): auths["variable"]}}),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
    }


def failing(world: World) -> list[str]:
    """Return a reference for each failure: of a token service with each kind of credential, else with one of them."""
    echoed = " ".join(sorted(world.registry_s, key=lambda secret: secret != world.headers[0]))
    stranger = f"stranger.test:{world.stranger.domain.rpartition(':')[2]}"
    found = []
    for place, (name, failure) in enumerate(failures.failures(echoed, world.signature, stranger).items()):
        image = failure.script(world.registry, name)
        kinds = KINDS if failure.of_token else [name if name in BUSY else KINDS[place % len(KINDS)]]
        found += [f"{world.domain(kind)}/{image}" for kind in kinds]
    world.mirror.on("/v2/b53/", Fault(status=503, body=" ".join(world.mirror_s).encode()))
    world.registry.on("/v2/b53/", Fault(status=503, body=echoed.encode()))
    beside = f"docker.registry.test:{world.stranger.domain.rpartition(':')[2]}"
    domains = {"b35": beside, "b36": world.domain("broken-helper"), "b50": world.domain("refusing")}
    domains |= {"b51": f"other.test:{world.registry.domain.rpartition(':')[2]}", "b53": world.domain("docker")}
    domains |= {"b51-key": world.domain("other-key")}
    assert failures.rows(domains) == failures.rows(failures.OF_THE_SETTING)
    return found + [f"{domain}/{name}:demo" for name, domain in domains.items()]


def sent(*registries: FaultRegistry) -> str:
    """Return all that reached registries."""
    seen = [each for registry in registries for each in registry.seen]
    return "\n".join(f"{each.method} {each.path} {each.headers} {each.body.decode('latin-1')}" for each in seen)


def written(*folders: Path) -> Iterator[bytes]:
    """Yield all files; of a database also what its tables say, for a long value lies in several places of the file."""
    for folder in folders:
        for path, data in contents(folder):
            yield data
            if data.startswith(SQLITE):
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                    yield from (line.encode() for line in database.iterdump())


def test_each_row_of_the_page_is_run_or_has_its_reason() -> None:
    page = (ROOT / "docs/reference/threats.md").read_text()

    run = failures.rows(failures.failures("", "", "")) | failures.rows(failures.OF_THE_SETTING)

    assert run.isdisjoint(failures.rows(failures.ELSEWHERE))
    assert run | failures.rows(failures.ELSEWHERE) == set(re.findall(r"^\| (B-\d\d) \|", page, re.MULTILINE))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_failure_writes_a_secret_down_or_sends_it_to_another_server(
    world: World, prefect_server: Server, tmp_path: Path
) -> None:
    api = {"PREFECT_API_URL": prefect_server.url, "PREFECT_API_AUTH_STRING": prefect_server.auth}
    (tmp_path / "home").mkdir()
    command, fresh = (Prestow(tmp_path / store, api, tmp_path / "home") for store in ("store", "fresh"))
    good = [f"{world.domain(kind)}/good:demo" for kind in (*KINDS, "own-proxy")]

    failed = command("prepull", *failing(world), "--json", "--parallel", "16", env=world.variables | HASTY)
    alone = command("pull", f"{world.domain('docker')}/b49-words-403:b49-words-403", env=world.variables)
    pulled = fresh("prepull", *good, "--json", env=world.variables)
    examined = command("doctor", world.domain("docker"), "--json", env=world.variables)

    assert pulled.status == 0, pulled.err
    assert [image["reference"] for image in failed.document["images"] if image["error"] is None] == []
    assert "403" in alone.err
    events(runs_of("pull", str(fresh.home))[0].id, 1, "prestow.tagged")  # the last ones that the server writes down
    output = [text.encode() for done in (pulled, failed, alone, examined) for text in (done.out, done.err)]
    recorded = b"\n".join([*output, *written(fresh.home, command.home, tmp_path / "home", prefect_server.directory)])
    assert good[0].encode() in recorded, "the records of the API are among what was looked at"
    assert [secret for secret in world.secrets if secret.encode() in recorded] == []
    raised = set(re.findall(r"Encountered exception during execution: (\w+)\(", failed.err))
    ours = {kind.__name__ for kind in PrestowError.__subclasses__()}
    assert raised - ours <= {"PrepullError"}, "those of the pulls are the engine's"
    assert len(raised) > 5
    at_registry, at_mirror, at_stranger = sent(world.registry), sent(world.mirror), sent(world.stranger)
    basic = {login(world.logins[kind]) for kind in KINDS if kind not in {"identity", "block"}}
    others = (world.logins["identity"], world.logins["block"], world.headers[0])
    assert [each for each in (*basic, *others) if each not in at_registry] == []
    assert f"Bearer {world.token}" in at_registry
    assert [each for each in world.secrets - world.registry_s if each in at_registry] == []
    assert [each for each in (world.logins["mirror"], world.headers[1]) if each not in at_mirror] == []
    assert [each for each in world.secrets - world.mirror_s if each in at_mirror] == []
    assert world.signature in at_stranger, "it was redirected to"
    assert [each for each in world.secrets - {world.signature} if each in at_stranger] == []
    for proxy in (world.proxy, world.own_proxy, world.refusing):
        heads = b"".join(proxy.heads).decode()
        assert WANTED.decode() in heads
        assert [each for each in world.secrets - {*PROXY_SECRETS} if each in heads] == []
