"""How token services are asked: by GET or POST, with what, and what is remembered of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from prestow.errors import NotFoundError, PrestowError, UnauthorizedError, UnavailableError
from prestow.reference import Reference
from prestow.registry.credentials import Credential, CredentialFiles, Credentials
from prestow.registry.hosts import Options
from prestow.registry.source import Source, Sources
from tests.registries import USER, Access, Fault, FaultRegistry

SECRET = "canary secret&grant_type=x"
Open = Callable[..., Source]


@pytest.fixture
def pull(fault_registry: FaultRegistry) -> Iterator[Open]:
    """Opens repositories of a registry that wants a token, as a user with a password."""
    fault_registry.access = Access(fault_registry.url + "/token")
    with Sources(Options(), credentials=Credentials(lambda *_: Credential(USER, SECRET))) as sources:
        yield lambda repository="team/app": sources.open(Reference.parse(f"{fault_registry.domain}/{repository}:demo"))


def methods(registry: FaultRegistry) -> list[str]:
    return [seen.method for seen in registry.requests("/token")]


BASIC = {user: Credential(user, SECRET).basic for user in (USER, "")}


def grants(registry: FaultRegistry) -> list[str]:
    """How each question of the token service proved who we are: a grant type, or the scheme of its header."""
    return [
        dict(parse_qsl(seen.body.decode())).get("grant_type") or seen.headers["Authorization"].partition(" ")[0]
        for seen in registry.requests("/token")
    ]


def test_a_password_goes_in_the_body_of_a_post(fault_registry: FaultRegistry, pull: Open) -> None:
    pull().resolve()

    (posted,) = fault_registry.requests("/token")
    assert (posted.method, posted.path) == ("POST", "/token")
    assert "Authorization" not in posted.headers
    assert posted.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(posted.body.decode(), strict_parsing=True) == [
        ("service", "tests"),
        ("scope", "repository:team/app:pull"),
        ("client_id", "prestow"),
        ("grant_type", "password"),
        ("username", USER),
        ("password", SECRET),
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 401, 404, 405])
@pytest.mark.parametrize("user", [USER, ""])
def test_a_secret_goes_by_get_where_the_service_does_not_take_a_post(
    fault_registry: FaultRegistry, status: int, user: str
) -> None:
    fault_registry.access = Access(fault_registry.url + "/token")
    fault_registry.on("/token", Fault(status=status), method="POST")

    with Sources(Options(), credentials=Credentials(lambda *_: Credential(user, SECRET))) as sources:
        sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo")).resolve()

    posted, got = fault_registry.requests("/token")
    assert (posted.method, got.method) == ("POST", "GET")
    assert (got.headers["Authorization"], got.body) == (BASIC[user], b"")
    assert got.query == {"service": "tests", "scope": "repository:team/app:pull"}


def test_the_way_that_works_is_the_first_one_from_then_on(fault_registry: FaultRegistry, pull: Open) -> None:
    fault_registry.on("/token", Fault(status=405), method="POST")

    for repository in ("team/app", "team/web", "other"):
        pull(repository).resolve()

    assert methods(fault_registry) == ["POST", "GET", "GET", "GET"]


@pytest.mark.parametrize("status", [404, 405])
def test_a_service_that_takes_get_no_longer_is_asked_by_post_again(
    fault_registry: FaultRegistry, pull: Open, status: int
) -> None:
    fault_registry.on("/token", Fault(status=405), method="POST", times=1)
    pull("team/app").resolve()
    fault_registry.on("/token", Fault(status=status), method="GET")

    for repository in ("team/web", "other"):
        pull(repository).resolve()

    assert methods(fault_registry) == ["POST", "GET", "GET", "POST", "POST"]


def test_a_service_that_takes_get_and_refuses_the_password_gets_it_once(
    fault_registry: FaultRegistry, pull: Open
) -> None:
    fault_registry.on("/token", Fault(status=405), method="POST", times=1)
    pull("team/app").resolve()
    fault_registry.on("/token", Fault(status=401))

    with pytest.raises(UnauthorizedError):
        pull("team/web").resolve()

    assert methods(fault_registry) == ["POST", "GET", "GET"]


def test_how_passwords_go_says_nothing_of_identity_tokens(fault_registry: FaultRegistry) -> None:
    fault_registry.access = Access(fault_registry.url + "/token")
    fault_registry.on("/token", Fault(status=401), method="POST", times=1)
    users = {"team/app": USER, "team/web": ""}

    with Sources(Options(), credentials=Credentials(lambda _, path: Credential(users[path], SECRET))) as sources:
        for repository in users:
            sources.open(Reference.parse(f"{fault_registry.domain}/{repository}:demo")).resolve()

    assert grants(fault_registry) == ["password", "Basic", "refresh_token"]


@pytest.mark.parametrize("status", [403, 418, 429, 500, 503])
def test_a_password_is_not_sent_again_after_another_failure(
    fault_registry: FaultRegistry, pull: Open, status: int
) -> None:
    fault_registry.on("/token", Fault(status=status))

    with pytest.raises(PrestowError):
        pull().resolve()

    assert methods(fault_registry) == ["POST"]


@pytest.mark.parametrize(
    ("post", "get", "error"),
    [
        (401, 404, UnauthorizedError),
        (405, 401, UnauthorizedError),
        (401, 401, UnauthorizedError),
        (401, 503, UnavailableError),
        (404, 404, NotFoundError),
    ],
)
def test_where_neither_way_works_the_answer_that_says_more_is_shown(
    fault_registry: FaultRegistry, pull: Open, post: int, get: int, error: type[PrestowError]
) -> None:
    fault_registry.on("/token", Fault(status=post), method="POST")
    fault_registry.on("/token", Fault(status=get), method="GET")

    with pytest.raises(error):
        pull().resolve()

    assert methods(fault_registry) == ["POST", "GET"]


@pytest.mark.parametrize("credential", [Credential(USER, SECRET), Credential("", SECRET)])
def test_a_secret_is_never_redirected_neither_in_a_body_nor_in_a_header(
    fault_registry: FaultRegistry, demo_layout: Path, credential: Credential
) -> None:
    with FaultRegistry(demo_layout) as other:
        fault_registry.access = Access(fault_registry.url + "/token")
        fault_registry.on("/token", Fault(redirect=other.url + "/token"))
        with Sources(Options(), credentials=Credentials(lambda *_: credential)) as sources:
            sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo")).resolve()

    assert [(seen.method, seen.body, seen.headers.get("Authorization")) for seen in other.seen] == [("GET", b"", None)]


@pytest.mark.parametrize("credential", [Credential(USER, SECRET), Credential("", SECRET)])
def test_a_service_that_is_not_trusted_gets_no_body_with_a_secret(
    fault_registry: FaultRegistry, credential: Credential
) -> None:
    fault_registry.access = Access(fault_registry.url.replace("127.0.0.1", "localhost") + "/token")
    fault_registry.on("/token", Fault(status=401))

    credentials = Credentials(lambda *_: credential)
    with Sources(Options(), credentials=credentials) as sources, pytest.raises(UnauthorizedError):
        sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo")).resolve()

    (asked,) = fault_registry.requests("/token")
    assert (asked.method, asked.body) == ("GET", b"")
    assert "Authorization" not in asked.headers


def test_the_query_of_a_realm_stays_with_it(fault_registry: FaultRegistry) -> None:
    fault_registry.access = Access(fault_registry.url + "/token?tenant=7")

    with Sources(Options(), credentials=Credentials(lambda *_: Credential("", SECRET))) as sources:
        sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo")).resolve()

    (asked,) = fault_registry.requests("/token")
    assert asked.path == "/token?tenant=7"
    assert b"tenant" not in asked.body


def refuse(registry: FaultRegistry, place: str) -> None:
    """Have the token service, or the registry that is shown its token, refuse all requests."""
    assert registry.access is not None
    if place == "/token":
        registry.on(place, Fault(status=401))
    else:
        registry.access.uses = 0


@pytest.mark.parametrize("place", ["/token", "/manifests/"])
def test_an_error_says_that_the_credentials_were_withheld_and_which_setting_allows_it(
    fault_registry: FaultRegistry, place: str
) -> None:
    realm = fault_registry.url.replace("127.0.0.1", "localhost")
    fault_registry.access = Access(realm + "/token")
    refuse(fault_registry, place)
    credentials = Credentials(lambda *_: Credential(USER, SECRET))

    with Sources(Options(), credentials=credentials) as sources, pytest.raises(UnauthorizedError) as caught:
        sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo")).resolve()

    assert str(caught.value).endswith(
        f"answered 401 Unauthorized; its token service {realm} was not given the credentials of "
        f"{fault_registry.domain}: add {fault_registry.domain}=localhost to trusted_hosts to allow it"
    )


@pytest.mark.parametrize("place", ["/token", "/manifests/", "basic"])
def test_an_error_says_where_no_credentials_were_found_and_how_to_log_in(
    fault_registry: FaultRegistry, tmp_path: Path, place: str
) -> None:
    fault_registry.access = Access(None if place == "basic" else fault_registry.url + "/token")
    refuse(fault_registry, place)
    files = CredentialFiles((tmp_path / "auth.json", tmp_path / "config.json"), '{"auths": {"canary.example": {}}}')
    credentials = Credentials(files.find, files.places)

    with Sources(Options(), credentials=credentials) as sources, pytest.raises(UnauthorizedError) as caught:
        sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo")).resolve()

    domain = fault_registry.domain
    assert str(caught.value).endswith(
        f"; no credentials for {domain}/team/app were found in DOCKER_AUTH_CONFIG, {tmp_path}/auth.json, "
        f"{tmp_path}/config.json: check the name, or log in with `prestow login {domain}`"
    )
    assert "canary" not in str(caught.value)


def test_a_refusal_with_a_token_that_was_kept_has_the_same_advice(
    fault_registry: FaultRegistry, tmp_path: Path
) -> None:
    fault_registry.access = Access(fault_registry.url + "/token")
    files = CredentialFiles((tmp_path / "config.json",))

    with Sources(Options(), credentials=Credentials(files.find, files.places)) as sources:
        source = sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo"))
        source.resolve()
        fault_registry.on("/manifests/", Fault(status=403))
        with pytest.raises(UnauthorizedError, match=r"403 Forbidden.*no credentials for .*config\.json"):
            source.resolve()
