"""The node: settings reach the rooms that they are for."""

import base64
import json
from pathlib import Path

import pytest

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
    assert "Authorization" not in first.headers
    assert second.headers["Authorization"] == f"Basic {secret}"
