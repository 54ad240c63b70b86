"""Docker's config.json and its credential helpers, with real programs as helpers."""

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.errors import InvalidError, NotFoundError, PrestowError, UnavailableError
from prestow.registry.credentials import Credential, DockerConfig, anonymous
from prestow.registry.helper import ask_helper

WriteConfig = Callable[[object], DockerConfig]
InstallHelper = Callable[[str, str], str]

CANARY = "canary-6b1f"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def config(tmp_path: Path) -> WriteConfig:
    def write(document: object) -> DockerConfig:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(document))
        return DockerConfig(path, helper_timeout=30)

    return write


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallHelper:
    def install(name: str, script: str) -> str:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return name

    return install


def test_a_stored_user_and_password_are_found_under_the_exact_host(config: WriteConfig) -> None:
    credentials = config({"auths": {"a.example": {"auth": encoded("me:pa:ss")}}})

    assert credentials.find("a.example") == Credential("me", "pa:ss")


@pytest.mark.parametrize("other", ["a.example.evil", "x.a.example", "a.example:8443", "example", "a.exampl"])
def test_no_other_host_and_no_other_port_gets_a_credential(config: WriteConfig, other: str) -> None:
    credentials = config({"auths": {"a.example": {"auth": encoded("me:secret")}}})

    assert credentials.find(other) is None


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://a.example/v1/", "a.example"),
        ("https://a.example/", "a.example"),
        ("A.example", "a.example"),
        ("a.example:443", "a.example"),
        ("http://a.example:5000", "a.example:5000"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_old_spellings_of_a_key_mean_the_same_host(config: WriteConfig, key: str, name: str) -> None:
    credentials = config({"auths": {key: {"auth": encoded("me:secret")}}})

    assert credentials.find(name) == Credential("me", "secret")


def test_a_key_with_a_repository_is_no_key_of_the_whole_host(config: WriteConfig) -> None:
    credentials = config({"auths": {"a.example/team": {"auth": encoded("me:secret")}}})

    assert credentials.find("a.example") is None


def test_an_identity_token_has_no_user_name(config: WriteConfig) -> None:
    credentials = config({"auths": {"a.example": {"auth": encoded("me:"), "identitytoken": "tok"}}})

    assert credentials.find("a.example") == Credential("", "tok")


def test_a_missing_file_and_an_empty_entry_mean_nobody(config: WriteConfig, tmp_path: Path) -> None:
    assert DockerConfig(tmp_path / "none.json").find("a.example") is None
    assert config({"auths": {"a.example": {}}}).find("a.example") is None
    assert config({"auths": None}).find("a.example") is None
    assert anonymous("a.example") is None


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"auths": []},
        {"auths": {"a.example": [CANARY]}},
        {"auths": {"a.example": {"auth": f"{CANARY}!"}}},
        {"auths": {"a.example": {"auth": 7}}},
        {"auths": {"a.example": {"auth": base64.b64encode(b"\xff\xfe").decode()}}},
        {"credHelpers": {"a.example": 1}},
        {"credsStore": ["x"]},
    ],
)
def test_a_broken_file_is_named_and_its_secrets_are_not_shown(config: WriteConfig, document: object) -> None:
    with pytest.raises(InvalidError, match=r"config\.json") as caught:
        config(document).find("a.example")

    assert CANARY not in str(caught.value)


def test_the_helper_of_a_registry_is_asked_before_the_store_and_the_file(
    config: WriteConfig, helper: InstallHelper
) -> None:
    helper(
        "own",
        """read server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"$server\\",\\"Secret\\":\\"s\\"}" """,
    )
    helper("all", 'echo \'{"ServerURL":"x","Username":"all","Secret":"s"}\'')
    credentials = config(
        {
            "auths": {"a.example": {"auth": encoded("file:s")}},
            "credHelpers": {"a.example": "own"},
            "credsStore": "all",
        }
    )

    assert credentials.find("a.example") == Credential("a.example", "s")
    assert credentials.find("b.example") == Credential("all", "s")


def test_helpers_know_docker_hub_by_its_old_address(config: WriteConfig, helper: InstallHelper) -> None:
    helper("hub", """read server; echo "{\\"Username\\":\\"$server\\",\\"Secret\\":\\"s\\"}" """)

    assert config({"credsStore": "hub"}).find("docker.io") == Credential("https://index.docker.io/v1/", "s")


def test_a_token_from_a_helper_is_an_identity_token(config: WriteConfig, helper: InstallHelper) -> None:
    helper("tok", 'echo \'{"Username":"<token>","Secret":"t"}\'')

    assert config({"credsStore": "tok"}).find("a.example") == Credential("", "t")


def test_where_a_helper_has_nothing_the_file_is_asked(config: WriteConfig, helper: InstallHelper) -> None:
    helper("none", "echo credentials not found in native keychain; exit 1")
    credentials = config({"auths": {"a.example": {"auth": encoded("file:s")}}, "credsStore": "none"})

    assert credentials.find("a.example") == Credential("file", "s")
    assert credentials.find("b.example") is None


@pytest.mark.parametrize("name", ["../../bin/sh", "a/b", "", "a b", "x" * 65, "a\n", ".."])
def test_a_helper_cannot_name_another_program(name: str) -> None:
    with pytest.raises(InvalidError, match="credential helper"):
        ask_helper(name, "a.example", timeout=30)


def test_a_helper_that_is_not_installed_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotFoundError, match="docker-credential-absent"):
        ask_helper("absent", "a.example", timeout=30)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (f"echo {CANARY}; echo {CANARY} >&2; exit 3", UnavailableError),
        ("kill -9 $$", UnavailableError),
        (f"echo {CANARY}", InvalidError),
        (f'echo \'{{"Username":"{CANARY}"}}\'', InvalidError),
        (f'echo \'{{"Username":"{CANARY}","Secret":7}}\'', InvalidError),
        ("head -c 3000000 /dev/zero", InvalidError),
        ("yes", InvalidError),
    ],
)
def test_what_a_failing_helper_says_is_never_shown(
    helper: InstallHelper, script: str, expected: type[PrestowError]
) -> None:
    helper("bad", script)

    with pytest.raises(expected) as caught:
        ask_helper("bad", "a.example", timeout=30)

    assert CANARY not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"


def test_a_helper_that_hangs_is_ended_with_all_it_started(helper: InstallHelper) -> None:
    helper("slow", "sleep 600 & sleep 600")

    with pytest.raises(PrestowError) as caught:
        ask_helper("slow", "a.example", timeout=0.2)

    assert caught.value.transient


def test_a_credential_does_not_show_its_secret() -> None:
    assert CANARY not in repr(Credential("me", CANARY))
