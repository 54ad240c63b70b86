"""Logging in at real registries: checked there, kept where prestow and others read it, and never shown."""

import base64
import json
import os
import pty
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prestow.errors import InvalidError, NotFoundError, UnauthorizedError
from prestow.registry.credentials import Credential, CredentialFiles
from tests.certificates import authority
from tests.flows.cli.conftest import Called, Done, Prestow
from tests.registries import PASSWORD, USER, DockerRegistry, docker_registry
from tests.terminals import everything
from tests.token_service import token_service

OTHER = {"auth": base64.b64encode(b"someone:else").decode(), "note": "keep"}
_HELPER = """#!/bin/sh
read -r said
case $1 in
store) echo "$said" > "$0.kept" ;;
get) cat "$0.kept" 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
erase) rm "$0.kept" ;;
esac
"""


@pytest.fixture(scope="module")
def registry(demo_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry"), password=True) as running:
        running.push(demo_layout, "demo", "demo:1")
        yield running


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file of docker's with the login of another registry, readable by all."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {"other.example": OTHER}, "psFormat": "table"}))
    file.chmod(0o644)
    return file


Login = Callable[..., Done]


@pytest.fixture
def login(called: Called, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    """The verb ``login`` with a password on standard input; prestow's file is ``config``."""
    monkeypatch.setenv("PRESTOW_DOCKER_CONFIG", str(config))

    def run(domain: str, password: str, *more: str) -> Done:
        (tmp_path / "typed").write_text(password)
        with (tmp_path / "typed").open() as typed:
            monkeypatch.setattr("sys.stdin", typed)
            return called("login", domain, "-u", USER, "--password-stdin", *more)

    return run


def test_a_login_is_kept_where_skopeo_finds_it_beside_all_others(
    called: Called, login: Login, registry: DockerRegistry, config: Path
) -> None:
    before = config.read_bytes()

    wrong = login(registry.domain, "wrong-canary")
    assert wrong.status == UnauthorizedError.exit_code
    assert wrong.err.splitlines()[-1].endswith("check user name and password")
    assert config.read_bytes() == before

    done = login(registry.domain, f"{PASSWORD}\n", "--json")

    assert done.document == {"registry": registry.domain, "username": USER, "kept": str(config)}
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    document = json.loads(config.read_bytes())
    assert (document["auths"].pop("other.example"), document["psFormat"]) == (OTHER, "table")
    assert [*document["auths"]] == [registry.domain]
    assert CredentialFiles((config,)).find(registry.domain, "demo") == Credential(USER, PASSWORD)
    inspect = ["skopeo", "inspect", "--tls-verify=false", "--authfile", config, f"docker://{registry.domain}/demo:1"]
    subprocess.run(inspect, check=True, timeout=60, stdout=subprocess.DEVNULL)
    for said in (wrong, done):
        assert "canary" not in said.out + said.err
        assert PASSWORD not in said.out + said.err

    out = called("logout", registry.domain)
    assert out.out == f"logged out from {registry.domain}; removed from {config}\n"
    assert json.loads(config.read_bytes())["auths"] == {"other.example": OTHER}
    again = called("logout", registry.domain)
    assert (again.status, str(config) in again.err) == (NotFoundError.exit_code, True)


def test_without_any_file_a_login_goes_into_one_of_the_users(
    login: Login, registry: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "run"
    for name in ("PRESTOW_DOCKER_CONFIG", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("HOME", str(tmp_path))

    done = login(registry.domain, PASSWORD)

    file = tmp_path / ".config/containers/auth.json"
    assert (done.status, done.out) == (0, f"logged in at {registry.domain} as {USER}; kept in {file}\n")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent)] == [0o600, 0o700]
    assert not runtime.exists()


@pytest.mark.parametrize("field", ["credsStore", "credHelpers"])
def test_a_configured_helper_keeps_it_and_no_file_does(
    called: Called, login: Login, registry: DockerRegistry, config: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, field: str,
) -> None:  # fmt: skip
    program = tmp_path / "bin/docker-credential-kept"
    program.parent.mkdir()
    program.write_text(_HELPER)
    program.chmod(0o755)
    config.write_text(json.dumps({field: "kept" if field == "credsStore" else {registry.domain: "kept"}}))
    before = config.read_bytes()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    done = login(registry.domain, PASSWORD)

    assert (done.status, done.out.splitlines()[-1].partition("; ")[2]) == (0, "kept in helper kept")
    kept = program.with_name(f"{program.name}.kept")
    assert json.loads(kept.read_bytes()) == {"ServerURL": registry.domain, "Username": USER, "Secret": PASSWORD}
    assert config.read_bytes() == before
    assert (called("logout", registry.domain).status, kept.exists()) == (0, False)


def test_the_token_service_of_a_registry_is_asked(login: Login, tmp_path: Path) -> None:
    with (
        token_service(authority(tmp_path / "signer")) as service,
        docker_registry(tmp_path / "data", auth=service.auth) as registry,
    ):
        wrong = login(registry.domain, "wrong")
        right = login(registry.domain, PASSWORD)

    assert (wrong.status, right.status) == (UnauthorizedError.exit_code, 0)
    assert {(each.user, each.scope) for each in service.asked} == {(USER, "")}


def test_a_registry_that_asks_for_nothing_is_said_to_have_checked_nothing(login: Login, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "data") as registry:
        done = login(registry.domain, PASSWORD)

    assert done.status == 0
    assert "asked for no credentials, so they were not checked" in done.err


def test_a_person_is_asked_and_the_password_is_not_shown(
    alone: Prestow, registry: DockerRegistry, config: Path
) -> None:
    terminal, end = pty.openpty()
    os.write(terminal, f"{USER}\n".encode())
    environment = {"PRESTOW_DOCKER_CONFIG": str(config), "TERM": "xterm"}
    with alone.start("login", registry.domain, env=environment, stdin=end, stderr=end, start_new_session=True) as run:
        os.close(end)
        shown = b""
        while b"Password: " not in shown:
            shown += os.read(terminal, 1 << 10)
        os.write(terminal, f"{PASSWORD}\n".encode())
        rest = everything(terminal)
        out = run.stdout.read() if run.stdout else ""

    assert (run.returncode, out.startswith(f"logged in at {registry.domain} as {USER}")) == (0, True)
    assert PASSWORD not in rest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-u", "me", "-p", "canary"), "pipe it in with --password-stdin"),
        (("-u", "me", "--password=canary"), "pipe it in with --password-stdin"),
        (("-u", "me"), "no terminal"),
        (("--password-stdin",), "name the user with --username"),
        (("-u", "a:b", "--password-stdin"), "other than a colon"),
        (("-u", "me", "--password-stdin"), "expected a password of 1 to"),
    ],
)
def test_what_is_no_safe_login_is_refused_before_anything_is_asked(
    called: Called, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        done = called("login", "registry.example", *words)

    assert (done.status, done.out) == (InvalidError.exit_code, "")
    assert said in done.err
    assert "canary" not in done.err
