"""The examples of fleet files: each is valid by the models and by the schema, and its selectors mean what it says."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from flows.rollout.inventory import read_hosts
from prestow.fleet.document import parse, read
from prestow.fleet.file import FleetFile
from prestow.fleet.resolution import check_registries
from prestow.fleet.schema import schema
from prestow.fleet.select import select

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "deployments/examples"
SCHEMA = ROOT / "docs/reference/fleet-file.schema.json"
PAGE = ROOT / "docs/reference/fleet-file.md"
SELECTED = {
    "gpu-nightly": {"nightly": ["gpu-01", "gpu-02", "gpu-03", "gpu-04"]},
    "edge-shops": {
        "shops": [
            "shop-0012-screen", "shop-0012-till-1", "shop-0047-screen", "shop-0047-till-1", "shop-0051-till-1-closed"
        ],
        "tills": ["shop-0012-till-1", "shop-0047-till-1"],
    },
    "ci-runners": {"bases": ["runner-1", "runner-2"]},
}  # fmt: skip


def workers() -> list[str]:
    return ["runner-2", "runner-1", "gpu-01"]


def test_every_example_is_listed_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {*SELECTED, "edge-shops.hosts"}


@pytest.mark.parametrize("name", SELECTED)
def test_an_example_selects_its_hosts(name: str) -> None:
    path = EXAMPLES / f"{name}.yaml"
    file = read(path, FleetFile)
    hosts = read_hosts(path, file, workers)

    assert {
        each: [host.name for host in select(each, image_set.hosts, hosts)] for each, image_set in file.sets.items()
    } == SELECTED[name]
    assert all(host.platform for host in hosts)
    check_registries(file)


@pytest.mark.parametrize("name", SELECTED)
def test_an_example_is_valid_by_the_schema(name: str) -> None:
    document = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text("utf-8"))

    jsonschema.Draft202012Validator(schema()).validate(document)


@pytest.mark.parametrize(
    "text",
    [
        "hosts: []\nsets: {a: {images: [app:1]}}",
        "hosts: [{name: UPPER}]\nsets: {a: {images: [app:1]}}",
        "hosts: [{name: a, labels: {role: 7}}]\nsets: {a: {images: [app:1]}}",
        "hosts: [{name: a}]\nsets: {a: {images: [app:1], bogus: 1}}",
        "hosts: [{name: a}]\nsets: {a: {images: [app:1], rollout: {timeout: 5}}}",
        "hosts: [{name: a}]\nsets: {a: {images: [app:1], rollout: {hold: perhaps}}}",
        "hosts: [{name: a}]\nsets: {Bad Name: {images: [app:1]}}",
    ],
)
def test_the_schema_refuses_what_the_models_refuse(text: str) -> None:
    assert not jsonschema.Draft202012Validator(schema()).is_valid(yaml.safe_load(text))
    with pytest.raises(Exception, match=r"expected|no such key"):
        parse(text, FleetFile, "fleet.yaml")


def test_the_published_schema_is_that_of_the_models() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())

    assert SCHEMA.read_text("utf-8") == json.dumps(schema(), indent=2) + "\n", "run `prestow fleet schema > …`"


def keys(document: Any) -> set[str]:
    """Return the keys of all objects of a schema."""
    if isinstance(document, list):
        return set().union(*map(keys, document))
    if not isinstance(document, dict):
        return set()
    return set(document.get("properties", {})).union(*map(keys, document.values()))


def test_the_page_has_a_row_for_each_key() -> None:
    rows = {line.split("|")[1].strip(" `") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")}

    assert keys(schema()) - rows == set()
