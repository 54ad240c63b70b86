"""Hosts files as a user meets them: ``prestow pull`` through a mirror, and what ``prestow doctor`` says of them."""

import json
from pathlib import Path

import pytest

from tests.flows.cli.conftest import Called
from tests.registries import Fault, FaultRegistry


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "certs.d"
    directory.mkdir()
    monkeypatch.setenv("PRESTOW_HOSTS_DIRS", json.dumps([str(directory)]))
    return directory


def write(hosts: Path, domain: str, text: str) -> Path:
    (hosts / domain).mkdir()
    (hosts / domain / "hosts.toml").write_text(text)
    return hosts / domain / "hosts.toml"


def checks(called: Called, *registries: str) -> dict[str, tuple[bool, str, str]]:
    found = called("doctor", *registries, "--json").document["checks"]
    return {c["check"]: (c["works"], c["found"], c["advice"]) for c in found if "regist" in c["check"]}


def test_a_pull_of_docker_hub_comes_from_the_mirror_that_the_file_names(
    called: Called, hosts: Path, fault_registry: FaultRegistry
) -> None:
    write(
        hosts,
        "docker.io",
        f'[host."http://{fault_registry.domain}"]\n[host."http://{fault_registry.domain}".header]\nX-Team = "a"',
    )

    done = called("pull", "docker.io/team/demo:demo", "--json")

    assert (done.status, done.document["name"]) == (0, "docker.io/team/demo:demo")
    assert {(seen.query["ns"], seen.headers["X-Team"]) for seen in fault_registry.seen} == {("docker.io", "a")}


def test_a_pull_with_a_broken_hosts_file_names_file_and_key(called: Called, hosts: Path) -> None:
    file = write(hosts, "registry.example", "ca = 1")

    done = called("pull", "registry.example/app:1")

    assert done.status == 2
    assert f"{file}: ca: expected" in done.err


def test_doctor_says_which_file_decides_for_a_registry(called: Called, hosts: Path) -> None:
    hub = write(
        hosts,
        "docker.io",
        '[prestow]\ncredentials = "block:hub"\n[host."https://mirror.example"]\nspeed = 1',
    )
    port = write(hosts, "r.example_5000_", "ca = 1")
    default = write(hosts, "_default", 'server = "https://cache.example"')

    assert checks(called) == {
        "registry docker.io": (
            True,
            f"{hub}: https://mirror.example/v2, then https://registry-1.docker.io/v2 with credentials block:hub",
            "unknown keys, ignored: host.'https://mirror.example'.speed",
        ),
        "registry r.example:5000": (False, f"{port}: ca: expected an array of strings, found a number", ""),
        "other registries": (True, f"{default}: https://cache.example/v2", ""),
    }
    assert checks(called, "quay.io") == {"registry quay.io": (True, f"{default}: https://cache.example/v2", "")}
    default.unlink()
    default.parent.rmdir()
    assert checks(called, "quay.io") == {"registry quay.io": (True, "no hosts file: https://quay.io/v2", "")}


def test_doctor_names_a_mirror_that_is_set_aside_and_why(
    called: Called, hosts: Path, fault_registry: FaultRegistry
) -> None:
    with FaultRegistry(fault_registry.layout) as mirror:
        mirror.on("", Fault(status=503))
        write(hosts, fault_registry.domain, f'[host."http://{mirror.domain}"]')
        assert called("pull", f"{fault_registry.domain}/team/demo:demo").status == 0

        found = called("doctor", "--json").document["checks"]

    (check,) = [check for check in found if check["check"] == f"mirror http://{mirror.domain}"]
    assert (check["works"], check["needed"]) == (False, False)
    assert check["found"].startswith("set aside for another ")
    assert "503" in check["found"]


def test_doctor_refuses_what_is_no_registry(called: Called) -> None:
    done = called("doctor", "docker.io/library/alpine")

    assert (done.status, "expected the domain of a registry" in done.err) == (2, True)
