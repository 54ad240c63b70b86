"""The node: settings reach the rooms that they are for."""

import base64
import json
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from prestow.errors import NotFoundError
from prestow.store.node import open_node
from tests.registries import USER, Access, FaultRegistry


def test_a_trusted_host_is_given_the_credentials_of_a_registry_that_names_it(
    fault_registry: FaultRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = base64.b64encode(f"{USER}:canary".encode()).decode()
    (tmp_path / "docker.json").write_text(json.dumps({"auths": {fault_registry.domain: {"auth": secret}}}))
    monkeypatch.setenv("PRESTOW_DOCKER_CONFIG", str(tmp_path / "docker.json"))
    fault_registry.access = Access(fault_registry.url.replace("127.0.0.1", "localhost") + "/token")

    for number, trusted in enumerate(["[]", '["localhost"]']):
        monkeypatch.setenv("PRESTOW_TRUSTED_HOSTS", trusted)
        node = open_node(str(tmp_path / f"{number}"))
        node.source(f"{fault_registry.domain}/team/app:demo").resolve()
        node.sources.close()

    first, second = fault_registry.requests("/token")
    assert ("Authorization" in first.headers, first.body) == (False, b"")
    assert dict(parse_qsl(second.body.decode()))["password"] == "canary"


def test_the_environment_names_files_with_credentials_and_the_repository_chooses_one(
    fault_registry: FaultRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team, host, variable = (
        base64.b64encode(f"{name}:canary".encode()).decode() for name in ("team", "host", "variable")
    )
    keys = {f"{fault_registry.domain}/team": {"auth": team}, fault_registry.domain: {"auth": host}}
    (tmp_path / "auth.json").write_text(json.dumps({"auths": keys}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    fault_registry.access = Access(fault_registry.url + "/token")

    for number, text in enumerate(["", json.dumps({"auths": {fault_registry.domain: {"auth": variable}}})]):
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", text)
        node = open_node(str(tmp_path / f"{number}"))
        for repository in ("team/app", "other"):
            node.source(f"{fault_registry.domain}/{repository}:demo").resolve()
        node.sources.close()

    asked = [dict(parse_qsl(seen.body.decode()))["username"] for seen in fault_registry.requests("/token")]
    assert asked == ["team", "host", "variable", "variable"]


def test_a_file_with_credentials_that_a_variable_names_must_be_there(
    fault_registry: FaultRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "none.json"))
    fault_registry.access = Access(fault_registry.url + "/token")

    with pytest.raises(NotFoundError, match="REGISTRY_AUTH_FILE"):
        open_node(str(tmp_path / "store")).source(f"{fault_registry.domain}/team/app:demo").resolve()
