"""Docker's config.json and its credential helpers, with real programs as helpers."""

import base64
import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.errors import InvalidError, NotFoundError, PrestowError, UnavailableError
from prestow.registry.credentials import Credential, CredentialFiles, anonymous
from prestow.registry.helper import ask_helper
from tests.registries import PASSWORD, USER, docker_registry

WriteConfig = Callable[[object], CredentialFiles]
InstallHelper = Callable[[str, str], str]

CANARY = "canary-6b1f"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def config(tmp_path: Path) -> WriteConfig:
    def write(document: object) -> CredentialFiles:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(document))
        return CredentialFiles((path,), helper_timeout=30)

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

    assert credentials.find("a.example", "team/app") == Credential("me", "pa:ss")


@pytest.mark.parametrize("other", ["a.example.evil", "x.a.example", "a.example:8443", "example", "a.exampl"])
def test_no_other_host_and_no_other_port_gets_a_credential(config: WriteConfig, other: str) -> None:
    credentials = config({"auths": {"a.example": {"auth": encoded("me:secret")}}})

    assert credentials.find(other, "team/app") is None


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

    assert credentials.find(name, "team/app") == Credential("me", "secret")


@pytest.mark.parametrize(
    ("repository", "user"),
    [
        ("team/app", "app"),
        ("team/app/deep", "app"),
        ("team/application", "team"),
        ("team", "team"),
        ("teams/app", "host"),
        ("other", "host"),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_the_most_specific_key_of_a_registry_wins(
    config: WriteConfig, repository: str, user: str, *, backwards: bool
) -> None:
    keys = {"a.example": "host", "a.example/team/app": "app", "a.example/team": "team", "b.example/other": "evil"}
    auths = {key: {"auth": encoded(f"{name}:s")} for key, name in keys.items()}
    credentials = config({"auths": dict(reversed(auths.items())) if backwards else auths})

    assert credentials.find("a.example", repository) == Credential(user, "s")


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("a.example", "other"),
        ("a.example:8443", "team"),
        ("b.example", "a.example/team"),
        ("a.example", "v1"),
        ("a", ""),
    ],
)
@pytest.mark.parametrize("key", ["a.example/team", "https://a.example/team", "a.example/team/v1"])
def test_a_key_with_a_repository_is_no_key_of_another_one(
    config: WriteConfig, key: str, name: str, repository: str
) -> None:
    assert config({"auths": {key: {"auth": encoded("me:secret")}}}).find(name, repository) is None


def test_a_helper_of_a_namespace_goes_before_the_credential_of_the_host_and_the_store(
    config: WriteConfig, helper: InstallHelper
) -> None:
    for name in ("team", "all"):
        helper(name, f"""echo '{{"Username":"{name}","Secret":"s"}}'""")
    credentials = config(
        {
            "auths": {"a.example": {"auth": encoded("host:s")}, "a.example/team/app": {"auth": encoded("app:s")}},
            "credHelpers": {"a.example/team": "team"},
            "credsStore": "all",
        }
    )

    found = [credentials.find("a.example", repository) for repository in ("team/app", "team/web", "web")]
    assert [each and each.username for each in found] == ["app", "team", "all"]


def test_an_empty_entry_of_a_repository_leaves_the_credential_of_the_host(config: WriteConfig) -> None:
    credentials = config({"auths": {"a.example": {"auth": encoded("me:s")}, "a.example/team": {}}})

    assert credentials.find("a.example", "team/app") == Credential("me", "s")


def test_documents_are_asked_in_order_and_the_variable_first(tmp_path: Path) -> None:
    def document(*names: tuple[str, str]) -> str:
        return json.dumps({"auths": {f"{name}.example": {"auth": encoded(f"{user}:s")} for user, name in names}})

    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(document(("1", "a"), ("1", "b")))
    second.write_text(document(("2", "a"), ("2", "b"), ("2", "c")))
    credentials = CredentialFiles((tmp_path / "none", first, second), document(("0", "a")))

    found = [credentials.find(f"{name}.example", "app") for name in "abcd"]
    assert [each and each.username for each in found] == ["0", "1", "2", None]
    assert credentials.places == ("DOCKER_AUTH_CONFIG", str(tmp_path / "none"), str(first), str(second))


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f"[{CANARY!r}",
        json.dumps([CANARY]),
        json.dumps({"auths": CANARY}),
        json.dumps({"auths": {"a.example": {"auth": CANARY + "!"}}}),
        "\udcff" + CANARY,
    ],
)
def test_a_broken_document_in_the_variable_is_a_warning_that_names_it_and_the_files_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {"a.example": {"auth": encoded("me:secret")}}}))
    credentials = CredentialFiles((tmp_path / "auth.json",), text)

    assert credentials.find("a.example", "app") == Credential("me", "secret")

    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "prestow.registry.credentials")
    assert record.getMessage().startswith("DOCKER_AUTH_CONFIG: ")
    assert "it is ignored: correct the variable, or unset it" in record.getMessage()
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("a.example", "a.example"),
        ("https://a.example/v1/", "a.example"),
        ("http://a.example:5000/any/thing", "a.example:5000"),
        ("a.example/team", "a.example"),
    ],
)
def test_docker_s_oldest_file_has_hosts_at_its_top_and_comes_last(tmp_path: Path, key: str, name: str) -> None:
    (tmp_path / ".dockercfg").write_text(json.dumps({key: {"auth": encoded("old:secret"), "email": "me@a.example"}}))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"both.example": {"auth": encoded("new:secret")}}}))
    credentials = CredentialFiles((tmp_path / "config.json",), dockercfg=tmp_path / ".dockercfg")

    assert credentials.find(name, "team/app") == Credential("old", "secret")
    assert credentials.find("other.example", "team/app") is None
    assert credentials.find("both.example", "team/app") == Credential("new", "secret")
    assert credentials.places == (str(tmp_path / "config.json"), str(tmp_path / ".dockercfg"))


def test_skopeo_reads_docker_s_oldest_file_in_the_same_way(tmp_path: Path, demo_layout: Path) -> None:
    with docker_registry(tmp_path / "registry", password=True) as registry:
        registry.push(demo_layout, "demo", "team/app:demo")
        login = encoded(f"{USER}:{PASSWORD}")
        (tmp_path / ".dockercfg").write_text(json.dumps({f"http://{registry.domain}/v1/": {"auth": login}}))
        command = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{registry.domain}/team/app:demo"]
        env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path)}

        subprocess.run(command, env=env, check=True, capture_output=True, timeout=120)

    found = CredentialFiles((), dockercfg=tmp_path / ".dockercfg").find(registry.domain, "team/app")
    assert found == Credential(USER, PASSWORD)


def test_a_required_file_must_not_be_missing(tmp_path: Path) -> None:
    credentials = CredentialFiles((tmp_path / "none.json",), required="REGISTRY_AUTH_FILE")

    with pytest.raises(NotFoundError, match=r"none\.json.*REGISTRY_AUTH_FILE"):
        credentials.find("a.example", "app")


def test_an_identity_token_has_no_user_name(config: WriteConfig) -> None:
    credentials = config({"auths": {"a.example": {"auth": encoded("me:"), "identitytoken": "tok"}}})

    assert credentials.find("a.example", "team/app") == Credential("", "tok")


def test_a_missing_file_and_an_empty_entry_mean_nobody(config: WriteConfig, tmp_path: Path) -> None:
    assert CredentialFiles((tmp_path / "none.json",)).find("a.example", "team/app") is None
    assert config({"auths": {"a.example": {}}}).find("a.example", "team/app") is None
    assert config({"auths": None}).find("a.example", "team/app") is None
    assert anonymous("a.example", "team/app") is None


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
        config(document).find("a.example", "team/app")

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

    assert credentials.find("a.example", "team/app") == Credential("a.example", "s")
    assert credentials.find("b.example", "team/app") == Credential("all", "s")


def test_helpers_know_docker_hub_by_its_old_address(config: WriteConfig, helper: InstallHelper) -> None:
    helper("hub", """read server; echo "{\\"Username\\":\\"$server\\",\\"Secret\\":\\"s\\"}" """)

    assert config({"credsStore": "hub"}).find("docker.io", "team/app") == Credential("https://index.docker.io/v1/", "s")


def test_a_token_from_a_helper_is_an_identity_token(config: WriteConfig, helper: InstallHelper) -> None:
    helper("tok", 'echo \'{"Username":"<token>","Secret":"t"}\'')

    assert config({"credsStore": "tok"}).find("a.example", "team/app") == Credential("", "t")


def test_where_a_helper_has_nothing_the_file_is_asked(config: WriteConfig, helper: InstallHelper) -> None:
    helper("none", "echo credentials not found in native keychain; exit 1")
    credentials = config({"auths": {"a.example": {"auth": encoded("file:s")}}, "credsStore": "none"})

    assert credentials.find("a.example", "team/app") == Credential("file", "s")
    assert credentials.find("b.example", "team/app") is None


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
