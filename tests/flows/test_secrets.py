"""Credentials are nowhere but in the configuration they come from, and in requests to their registry."""

import json
from typing import TYPE_CHECKING

import pytest
from prefect.utilities.callables import parameter_schema

from flows.bundle import bundle
from flows.fsck import fsck
from flows.prepull import prepull
from flows.prune import prune
from flows.pull import pull
from flows.run import run
from flows.variables import REFERENCE
from prestow.registry.credentials import NAME

if TYPE_CHECKING:
    from prefect import Flow

WORDS = ("secret", "password", "token", "credential", "auth", "login", "key")


@pytest.mark.parametrize("flow", [bundle, fsck, prepull, prune, pull, run], ids=lambda flow: flow.name)
def test_no_flow_takes_a_secret_but_by_reference(flow: "Flow[..., object]") -> None:
    schema = parameter_schema(flow).model_dump_for_openapi()

    named = {name for name in schema["properties"] if any(word in name.lower() for word in WORDS)}
    secrets = {"secrets"} if flow.name in {"bundle", "run"} else set()
    assert named == secrets | (set() if flow.name == "prune" else {"credentials"})
    assert all(schema["properties"][name]["items"]["pattern"] == REFERENCE for name in secrets)
    assert all(schema["properties"][name]["anyOf"][0]["pattern"] == NAME for name in named - secrets)
    assert '"format": "password"' not in json.dumps(schema)
