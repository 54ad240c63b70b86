"""Credentials by a name: which endpoint gets them, in the place of which others, and what each of them is kept for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prestow.errors import InvalidError, NotFoundError, UnauthorizedError, UnsupportedError
from prestow.reference import Reference
from prestow.registry.credentials import Credential, Credentials, Named, check_name
from prestow.registry.hosts import Options
from prestow.registry.source import Sources
from tests.hosts_files import write_hosts
from tests.registries import PASSWORD, USER, Access, FaultRegistry

RIGHT, OTHER = Credential(USER, PASSWORD), Credential("other", "canary")


@dataclass
class Names:
    """What names stand for, and which were asked for."""

    named: dict[str, Named]
    asked: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> Named:
        """Return what a name stands for."""
        self.asked.append(name)
        if name not in self.named:
            raise NotFoundError(f"credentials {name}: none")
        return self.named[name]


@pytest.fixture
def mirror(fault_registry: FaultRegistry) -> Iterator[FaultRegistry]:
    """Another server with the same images; both want user and password."""
    fault_registry.access = Access(None)
    with FaultRegistry(fault_registry.layout) as running:
        running.access = Access(None)
        yield running


def sources(names: Names, options: Options | None = None, files: Credential | None = None) -> Sources:
    opened = Sources(options or Options(), credentials=Credentials(lambda *_: files, ("auth.json",)))
    opened.find_named = names
    return opened


def image(registry: FaultRegistry, repository: str = "team/app") -> Reference:
    return Reference.parse(f"{registry.domain}/{repository}:demo")


def logins(registry: FaultRegistry) -> set[str]:
    return {seen.headers["Authorization"] for seen in registry.seen if "Authorization" in seen.headers}


def test_those_of_a_run_go_to_the_registry_itself_and_to_no_mirror(
    fault_registry: FaultRegistry, mirror: FaultRegistry, tmp_path: Path
) -> None:
    options = write_hosts(tmp_path, fault_registry.domain, f'[host."http://{mirror.domain}"]')
    names = Names({"block:own": Named(RIGHT)})

    with sources(names, options) as opened:
        opened.open(image(fault_registry), "block:own").resolve()

    assert logins(fault_registry) == {RIGHT.basic}
    assert (len(mirror.seen), logins(mirror)) == (1, set())


def test_those_of_a_hosts_file_go_to_the_server_that_it_names_them_for(
    fault_registry: FaultRegistry, mirror: FaultRegistry, tmp_path: Path
) -> None:
    text = f"""
[prestow]
credentials = "block:own"
[host."http://{mirror.domain}".prestow]
credentials = "block:mirror"
"""
    options = write_hosts(tmp_path, fault_registry.domain, text)
    names = Names({"block:own": Named(RIGHT), "block:mirror": Named(OTHER)})

    with sources(names, options) as opened:
        opened.open(image(fault_registry)).resolve()

    assert logins(mirror) == {OTHER.basic}
    assert logins(fault_registry) == {RIGHT.basic}


@pytest.mark.usefixtures("mirror")
def test_those_of_a_run_go_before_those_of_a_hosts_file_and_these_before_a_login(
    fault_registry: FaultRegistry, tmp_path: Path
) -> None:
    options = write_hosts(tmp_path, fault_registry.domain, '[prestow]\ncredentials = "block:file"')
    names = Names({"block:run": Named(RIGHT), "block:file": Named(OTHER)})

    with sources(names, options, files=RIGHT) as opened:
        opened.open(image(fault_registry, "team/a"), "block:run").resolve()
        assert logins(fault_registry) == {RIGHT.basic}
        with pytest.raises(UnauthorizedError) as refused:
            opened.open(image(fault_registry, "team/b")).resolve()

    assert logins(fault_registry) == {RIGHT.basic, OTHER.basic}
    assert names.asked == ["block:run", "block:file"]
    assert OTHER.secret not in str(refused.value)


@pytest.mark.usefixtures("mirror")
@pytest.mark.parametrize("login", [None, OTHER])
def test_those_of_another_registry_are_withheld_and_the_error_says_so(
    fault_registry: FaultRegistry, login: Credential | None
) -> None:
    names = Names({"block:a": Named(RIGHT, "a.example:5000")})

    with sources(names, files=login) as opened, pytest.raises(UnauthorizedError) as refused:
        opened.open(image(fault_registry), "block:a").resolve()

    assert logins(fault_registry) == ({OTHER.basic} if login else set())
    withheld = f"credentials block:a are for a.example:5000 and were not given to {fault_registry.domain}: name others"
    assert (withheld in str(refused.value)) is (login is None)


@pytest.mark.parametrize("registry", ["docker.io", "index.docker.io", "registry-1.docker.io", ""])
def test_those_of_docker_hub_fit_it_under_each_of_its_names(registry: str) -> None:
    assert Named(RIGHT, registry).fits("docker.io")


@pytest.mark.parametrize("name", ["a.example:8443", "b.a.example", "a.example.evil", "docker.io"])
def test_those_of_a_registry_fit_one_exact_host_and_port(name: str) -> None:
    assert not Named(RIGHT, "a.example").fits(name)
    assert Named(RIGHT, "a.example").fits("A.example:443")


def test_a_token_is_kept_for_the_credentials_that_it_was_got_with(fault_registry: FaultRegistry) -> None:
    fault_registry.access = Access(fault_registry.url + "/token")
    names = Names({"block:a": Named(RIGHT), "block:b": Named(OTHER)})

    with sources(names) as opened:
        for name in ("block:a", "block:b", None, "block:a", None):
            opened.open(image(fault_registry), name).resolve()

    asked = [seen.body.decode().partition("username=")[2] for seen in fault_registry.requests("/token")]
    assert asked == [f"{USER}&password={PASSWORD}", "other&password=canary", ""]


@pytest.mark.usefixtures("mirror")
def test_they_are_read_each_time_so_that_a_changed_password_counts(fault_registry: FaultRegistry) -> None:
    names = Names({"block:a": Named(OTHER)})

    with sources(names) as opened:
        source = opened.open(image(fault_registry), "block:a")
        with pytest.raises(UnauthorizedError):
            source.resolve()
        names.named["block:a"] = Named(RIGHT)
        source.resolve()

    assert logins(fault_registry) == {OTHER.basic, RIGHT.basic}


@pytest.mark.usefixtures("mirror")
def test_a_name_of_nothing_is_an_error_and_no_login_takes_its_place(fault_registry: FaultRegistry) -> None:
    with sources(Names({}), files=RIGHT) as opened, pytest.raises(NotFoundError, match="block:none"):
        opened.open(image(fault_registry), "block:none").resolve()

    with Sources(Options()) as engine, pytest.raises(UnsupportedError, match="block:none: only flows read blocks"):
        engine.open(image(fault_registry), "block:none").resolve()

    assert logins(fault_registry) == set()


def test_where_several_registries_may_be_asked_they_must_say_which_they_are_for() -> None:
    with sources(Names({"block:any": Named(RIGHT), "block:own": Named(RIGHT, "a.example")})) as opened:
        opened.check_named("block:own", bound=True)
        opened.check_named("block:any", bound=False)
        with pytest.raises(InvalidError, match=r"block:any are for any registry.*set their registry"):
            opened.check_named("block:any", bound=True)


@pytest.mark.parametrize(
    "text", ["canary", "block:", "block:Canary", "block:a/b", "block:a\n", "secret:a", "block:a b"]
)
def test_what_is_no_name_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidError, match="expected block:NAME") as refused:
        check_name(text)

    assert "anary" not in str(refused.value)
