"""How token services are asked: by GET or POST, with what, and what is remembered of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from prestow.errors import InvalidError, PrestowError, UnauthorizedError
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


@pytest.mark.parametrize("status", [400, 401, 404, 405])
def test_a_password_goes_by_post_where_the_service_does_not_answer_a_get(
    fault_registry: FaultRegistry, pull: Open, status: int
) -> None:
    fault_registry.on("/token", Fault(status=status), method="GET")

    pull().resolve()

    _, posted = fault_registry.requests("/token")
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


def test_the_way_that_works_is_remembered_for_the_realm(fault_registry: FaultRegistry, pull: Open) -> None:
    fault_registry.on("/token", Fault(status=405), method="GET")

    for repository in ("team/app", "team/web", "other"):
        pull(repository).resolve()

    assert methods(fault_registry) == ["GET", "POST", "POST", "POST"]


def test_a_service_that_answers_a_get_is_asked_by_no_post(fault_registry: FaultRegistry, pull: Open) -> None:
    pull("team/app").resolve()
    fault_registry.on("/token", Fault(status=401), method="GET")

    with pytest.raises(UnauthorizedError):
        pull("team/web").resolve()

    assert methods(fault_registry) == ["GET", "GET"]


@pytest.mark.parametrize("status", [403, 418, 429, 500, 503])
def test_a_password_is_not_sent_again_after_another_failure(
    fault_registry: FaultRegistry, pull: Open, status: int
) -> None:
    fault_registry.on("/token", Fault(status=status))

    with pytest.raises(PrestowError):
        pull().resolve()

    assert methods(fault_registry) == ["GET"]


@pytest.mark.parametrize(("get", "post"), [(401, 404), (405, 401), (401, 401)])
def test_where_neither_way_works_the_refusal_of_the_password_is_shown(
    fault_registry: FaultRegistry, pull: Open, get: int, post: int
) -> None:
    fault_registry.on("/token", Fault(status=get), method="GET")
    fault_registry.on("/token", Fault(status=post), method="POST")

    with pytest.raises(UnauthorizedError, match="401"):
        pull().resolve()

    assert methods(fault_registry) == ["GET", "POST"]


@pytest.mark.parametrize("credential", [Credential(USER, SECRET), Credential("", SECRET)])
def test_a_body_with_a_secret_is_never_redirected(
    fault_registry: FaultRegistry, demo_layout: Path, credential: Credential
) -> None:
    with FaultRegistry(demo_layout) as other:
        fault_registry.access = Access(fault_registry.url + "/token")
        fault_registry.on("/token", Fault(status=405), method="GET")
        fault_registry.on("/token", Fault(redirect=other.url + "/token"), method="POST")
        with Sources(Options(), credentials=Credentials(lambda *_: credential)) as sources:
            source = sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo"))
            with pytest.raises(InvalidError) as caught:
                source.resolve()

    assert other.seen == []
    assert "canary" not in str(caught.value)


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
        f"{tmp_path}/config.json: check the name, or log in with `docker login {domain}` or `podman login {domain}`"
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
