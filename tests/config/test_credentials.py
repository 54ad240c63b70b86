"""Where credentials are looked for, by the environment."""

import os
from pathlib import Path

import pytest

from config.credentials import credential_places

BOTH = {"XDG_RUNTIME_DIR": "/run/user/7", "XDG_CONFIG_HOME": "/config", "DOCKER_CONFIG": "/docker"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (BOTH, ["/run/user/7/containers/auth.json", "/config/containers/auth.json", "/docker/config.json"]),
        (
            {},
            [f"/run/containers/{os.getuid()}/auth.json", "~/.config/containers/auth.json", "~/.docker/config.json"],
        ),
        ({**BOTH, "REGISTRY_AUTH_FILE": "/auth.json"}, ["/auth.json"]),
        (
            dict.fromkeys([*BOTH, "REGISTRY_AUTH_FILE"], ""),
            [f"/run/containers/{os.getuid()}/auth.json", "~/.config/containers/auth.json", "~/.docker/config.json"],
        ),
    ],
)
def test_files_are_those_of_podman_and_then_of_docker(environment: dict[str, str], expected: list[str]) -> None:
    places = credential_places(None, environment)

    assert places.files == tuple(Path(file).expanduser() for file in expected)
    assert places.required == ("REGISTRY_AUTH_FILE" if len(expected) == 1 else "")
    assert places.dockercfg == (None if len(expected) == 1 else Path("~/.dockercfg").expanduser())


def test_the_file_of_the_setting_is_used_alone() -> None:
    environment = {**BOTH, "REGISTRY_AUTH_FILE": "/auth.json", "DOCKER_AUTH_CONFIG": "{}"}

    places = credential_places(Path("/chosen.json"), environment)

    assert (places.files, places.text, places.required) == ((Path("/chosen.json"),), "", "")
    assert places.dockercfg is None


def test_a_document_in_a_variable_is_taken_and_not_shown() -> None:
    places = credential_places(None, {"DOCKER_AUTH_CONFIG": '{"auths": {}}'})

    assert places.text == '{"auths": {}}'
    assert "auths" not in repr(places)
