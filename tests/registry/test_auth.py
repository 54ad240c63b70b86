"""Authentication: tokens, passwords, who gets them and for how long."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from prestow.errors import InvalidError, PrestowError, UnauthorizedError, UnavailableError
from prestow.reference import Reference
from prestow.registry.client import Client
from prestow.registry.credentials import Credential, Credentials, FindCredential, anonymous
from prestow.registry.hosts import Options
from prestow.registry.registry import RegistrySource
from tests.registries import PASSWORD, USER, Access, DockerRegistry, Fault, FaultRegistry, docker_registry

ROOT = Path(__file__).parents[2]

Connect = Callable[..., RegistrySource]
SECRET = "canary-secret"


class Clock:
    """A clock that is moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def me(name: str, repository: str) -> Credential:
    return Credential(USER, SECRET)


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients = []

    def source(
        domain: str,
        credentials: FindCredential = anonymous,
        *,
        options: Options | None = None,
        clock: Clock | None = None,
    ) -> RegistrySource:
        client = Client(options or Options(), credentials=Credentials(credentials), clock=clock or Clock())
        clients.append(client)
        return RegistrySource(Reference.parse(f"{domain}/team/app:demo"), client)

    yield source
    for client in clients:
        client.close()


@pytest.fixture
def token_service(demo_layout: Path) -> Iterator[FaultRegistry]:
    """Another server that gives tokens."""
    with FaultRegistry(demo_layout) as registry:
        yield registry


def test_a_token_is_fetched_for_this_repository_and_used_until_it_expires(
    fault_registry: FaultRegistry, connect: Connect
) -> None:
    fault_registry.access = Access(fault_registry.url + "/token", expires_in=300)
    clock = Clock()
    source = connect(fault_registry.domain, clock=clock)

    source.resolve()
    source.resolve()
    clock.now += 299
    source.resolve()
    assert [seen.query for seen in fault_registry.requests("/token")] == [
        {"service": "tests", "scope": "repository:team/app:pull"}
    ]

    clock.now += 2
    source.resolve()
    assert len(fault_registry.requests("/token")) == 2


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [(0, 60), (-1, 60), (10, 60), ("x", 60), (None, 60), (True, 60), (120.5, 120.5), (10**18, 3600), (1e300, 3600)],
)
def test_a_lifetime_is_bounded_whatever_the_service_says(
    fault_registry: FaultRegistry, connect: Connect, expires_in: object, lifetime: float
) -> None:
    fault_registry.access = Access(fault_registry.url + "/token", expires_in=expires_in)
    clock = Clock()
    source = connect(fault_registry.domain, clock=clock)

    source.resolve()
    clock.now += lifetime - 1
    source.resolve()
    assert len(fault_registry.requests("/token")) == 1
    clock.now += 2
    source.resolve()
    assert len(fault_registry.requests("/token")) == 2


def test_a_token_that_stops_working_is_replaced_once_per_request(
    fault_registry: FaultRegistry, connect: Connect
) -> None:
    fault_registry.access = Access(fault_registry.url + "/token", uses=2)
    source = connect(fault_registry.domain)

    for _ in range(5):
        source.resolve()

    assert len(fault_registry.requests("/token")) == 3


def test_a_registry_that_is_never_content_is_left_after_three_requests(
    fault_registry: FaultRegistry, connect: Connect
) -> None:
    fault_registry.access = Access(fault_registry.url + "/token", uses=0)

    with pytest.raises(UnauthorizedError, match="team/app"):
        connect(fault_registry.domain, me).resolve()

    assert len(fault_registry.seen) == 3


def test_a_password_goes_to_the_registrys_own_token_service(fault_registry: FaultRegistry, connect: Connect) -> None:
    fault_registry.access = Access(fault_registry.url + "/token")

    connect(fault_registry.domain, me).resolve()

    (asked,) = fault_registry.requests("/token")
    assert dict(parse_qsl(asked.body.decode()))["password"] == SECRET
    assert asked.method == "POST"


def test_an_identity_token_is_exchanged_in_the_body_of_a_post(fault_registry: FaultRegistry, connect: Connect) -> None:
    answer = {"token": None, "access_token": "token-1"}
    fault_registry.access = Access(fault_registry.url + "/token", extra=answer)

    connect(fault_registry.domain, lambda *_: Credential("", SECRET)).resolve()

    (asked,) = fault_registry.requests("/token")
    assert (asked.method, asked.path) == ("POST", "/token")
    assert "Authorization" not in asked.headers
    assert dict(parse_qsl(asked.body.decode())) == {
        "service": "tests",
        "scope": "repository:team/app:pull",
        "grant_type": "refresh_token",
        "client_id": "prestow",
        "refresh_token": SECRET,
    }


def test_a_token_service_of_another_name_is_asked_as_nobody(
    fault_registry: FaultRegistry, token_service: FaultRegistry, connect: Connect
) -> None:
    realm = token_service.url.replace("127.0.0.1", "localhost") + "/token"
    fault_registry.access = token_service.access = Access(realm)

    connect(fault_registry.domain, me).resolve()
    (asked,) = token_service.requests("/token")
    assert ("Authorization" in asked.headers, asked.body) == (False, b"")

    for trusted in ("localhost", f"{fault_registry.domain}=localhost"):
        connect(fault_registry.domain, me, options=Options(trusted=frozenset({trusted}))).resolve()
        assert SECRET.encode() in token_service.requests("/token")[-1].body

    connect(fault_registry.domain, me, options=Options(trusted=frozenset({"other.example=localhost"}))).resolve()
    last = token_service.requests("/token")[-1]
    assert ("Authorization" in last.headers, last.body) == (False, b"")


def test_a_registry_that_only_redirects_leads_to_another_that_knows_us_as_nobody(
    fault_registry: FaultRegistry, token_service: FaultRegistry, connect: Connect
) -> None:
    token_service.access = Access(token_service.url + "/token")
    fault_registry.on("", Fault(redirect=token_service.url + "/"))
    source = connect(fault_registry.domain, me)

    assert source.resolve() == source.resolve()

    (asked,) = token_service.requests("/token")
    assert "Authorization" not in asked.headers
    assert [seen.headers.get("Authorization") for seen in token_service.requests("/manifests/")] == [
        None,
        "Bearer token-1",
    ] * 2
    assert all("Authorization" not in seen.headers for seen in fault_registry.seen)


def test_a_token_service_that_redirects_loses_our_password(
    fault_registry: FaultRegistry, token_service: FaultRegistry, connect: Connect
) -> None:
    fault_registry.access = token_service.access = Access(fault_registry.url + "/token")
    fault_registry.on("/token", Fault(redirect=token_service.url + "/token"))

    connect(fault_registry.domain, me).resolve()

    assert "Authorization" not in token_service.requests("/token")[0].headers


@pytest.mark.parametrize(
    "challenge",
    [
        "Bearer",
        'Bearer service="x"',
        'Bearer realm=""',
        'Bearer realm="file:///etc/passwd"',
        'Bearer realm="http://user:pw@127.0.0.1/"',
        'Bearer realm="http://registry.example/token"',
        'Bearer realm="//x"',
        'Bearer realm="x',
    ],
)
def test_a_challenge_that_leads_nowhere_is_refused(
    fault_registry: FaultRegistry, connect: Connect, challenge: str
) -> None:
    fault_registry.on("", Fault(status=401, headers={"WWW-Authenticate": challenge}))

    with pytest.raises(InvalidError):
        connect(fault_registry.domain, me).resolve()

    assert len(fault_registry.seen) == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(body=b"<html>log in</html>", headers={"Content-Type": "text/html"}), InvalidError),
        (Fault(body=b"{}"), InvalidError),
        (Fault(body=b'{"token": 7}'), InvalidError),
        (Fault(body=b'{"token": ""}'), InvalidError),
        (Fault(body=b'{"token": "a\\r\\nX: y"}'), InvalidError),
        (Fault(body='{"token": "ä"}'.encode()), InvalidError),
        (Fault(body=b'{"token": "' + b"a" * 100_000 + b'"}'), InvalidError),
        (Fault(body=b"[" * 100_000), InvalidError),
        (Fault(body=b" " * (2 << 20)), PrestowError),
        (Fault(status=401), UnauthorizedError),
        (Fault(status=403), UnauthorizedError),
        (Fault(status=500), UnavailableError),
        (Fault(status=429, headers={"Retry-After": "7"}), UnavailableError),
        (Fault(drop_after=3), UnavailableError),
    ],
)
def test_a_token_service_that_fails_is_told_of_without_secrets(
    fault_registry: FaultRegistry, connect: Connect, fault: Fault, expected: type[PrestowError]
) -> None:
    fault_registry.access = Access(fault_registry.url + "/token")
    fault_registry.on("/token", fault)

    with pytest.raises(expected) as caught:
        connect(fault_registry.domain, me).resolve()

    assert SECRET not in str(caught.value)
    assert "text/html" not in str(fault.headers) or "text/html" in str(caught.value)


def test_many_threads_fetch_one_token(fault_registry: FaultRegistry, connect: Connect) -> None:
    fault_registry.access = Access(fault_registry.url + "/token")
    source = connect(fault_registry.domain, clock=Clock())
    threads = [threading.Thread(target=source.resolve) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(fault_registry.requests("/token")) == 1


def test_basic_is_answered_where_there_are_credentials(fault_registry: FaultRegistry, connect: Connect) -> None:
    fault_registry.access = Access(None)

    connect(fault_registry.domain, lambda *_: Credential(USER, PASSWORD)).resolve()

    with pytest.raises(UnauthorizedError, match="log in"):
        connect(fault_registry.domain).resolve()
    with pytest.raises(UnauthorizedError, match="log in"):
        connect(fault_registry.domain, lambda *_: Credential("", "identity")).resolve()


def test_a_refused_password_is_not_sent_for_ever(fault_registry: FaultRegistry, connect: Connect) -> None:
    fault_registry.access = Access(None)
    source = connect(fault_registry.domain, me)

    for _ in range(2):
        with pytest.raises(UnauthorizedError) as caught:
            source.resolve()
        assert SECRET not in str(caught.value)
    assert len(fault_registry.seen) == 3


def test_bearer_goes_before_basic_and_other_schemes_are_named(fault_registry: FaultRegistry, connect: Connect) -> None:
    both = f'Basic realm="x", Bearer realm="{fault_registry.url}/token"'
    fault_registry.access = Access(fault_registry.url + "/token")
    fault_registry.on("/manifests/", Fault(status=401, headers={"WWW-Authenticate": both}), times=1)
    connect(fault_registry.domain, me).resolve()
    assert len(fault_registry.requests("/token")) == 1

    fault_registry.on("/manifests/", Fault(status=401, headers={"WWW-Authenticate": "Negotiate"}))
    with pytest.raises(UnauthorizedError, match="negotiate"):
        connect(fault_registry.domain, me).resolve()


@pytest.fixture(scope="module")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("locked"), password=True) as registry:
        yield registry


def test_the_real_registry_lets_in_who_has_the_password(
    locked_registry: DockerRegistry, demo_layout: Path, connect: Connect
) -> None:
    locked_registry.push(demo_layout, "demo", "team/app:demo")

    assert connect(locked_registry.domain, lambda *_: Credential(USER, PASSWORD)).resolve().size > 0
    for credentials in (me, anonymous):
        with pytest.raises(UnauthorizedError):
            connect(locked_registry.domain, credentials).resolve()


FAR_AWAY = """
import sys
from pathlib import Path
from prestow.errors import InvalidError
from prestow.reference import Reference
from prestow.registry.credentials import Credential, Credentials
from prestow.registry.hosts import Options
from prestow.registry.source import Sources
from tests.registries import Access, FaultRegistry, PASSWORD, USER

me = Credentials(lambda *_: Credential(USER, PASSWORD))
with FaultRegistry(Path(sys.argv[1]), host="192.0.2.1") as registry:
    registry.access = Access(None)
    for insecure in (frozenset(), {registry.domain}):
        with Sources(Options(insecure=insecure), credentials=me) as sources:
            try:
                print(sources.open(Reference.parse(f"{registry.domain}/team/app:demo")).resolve().digest)
            except InvalidError as error:
                assert "name the host insecure" in str(error), error
            print(sum("Authorization" in seen.headers for seen in registry.seen))
"""


def test_a_password_goes_in_the_clear_only_where_that_was_configured(demo_layout: Path) -> None:
    network = 'ip link set lo up && ip address add 192.0.2.1/32 dev lo && exec "$@"'
    command = ["unshare", "--map-root-user", "--net", "sh", "-c", network, "sh", sys.executable, "-c", FAR_AWAY]

    done = subprocess.run([*command, demo_layout], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    refused, digest, sent = done.stdout.split()
    assert (refused, digest[:7], sent) == ("0", "sha256:", "1")
