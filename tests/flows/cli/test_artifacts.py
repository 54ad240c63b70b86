"""Artifacts on the command line: pulled without unpacking, listed, inspected."""

from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.oci.descriptor import Descriptor
from tests.artifacts import files, index_of_artifacts, put_artifact, signature, write_artifact
from tests.flows.cli.conftest import Called
from tests.image_factory import tag
from tests.registries import FaultRegistry


@pytest.fixture
def reference(fault_registry: FaultRegistry) -> str:
    return f"{fault_registry.domain}/team/thing:artifact"


def test_an_artifact_is_pulled_listed_and_inspected(
    called: Called, fault_registry: FaultRegistry, reference: str, tmp_path: Path
) -> None:
    target = write_artifact(fault_registry.layout, files)
    refused = called("pull", reference)
    assert (refused.status, refused.out) == (9, "")
    assert "artifact of type 'application/vnd.example.model'" in refused.err
    assert "use `prestow pull --no-unpack`" in refused.err

    pulled = called("pull", "--no-unpack", reference, "--json").document

    assert (pulled["checkpoint"], pulled["chain_id"], pulled["manifest_digest"]) == ("tagged", None, target.digest)
    assert [(layer["diff_id"], layer["state"]) for layer in pulled["layers"]] == [(None, "stored")] * 3
    (listed,) = called("images", "--json").document
    assert (listed["artifact_type"], listed["platforms"], listed["size"]) == (
        "application/vnd.example.model",
        [],
        10002,
    )
    inspected = called("images", "inspect", reference, "--json").document
    assert (inspected["artifact_type"], inspected["manifests"]) == ("application/vnd.example.model", [target.digest])
    assert [(blob["title"], blob["size"], blob["state"]) for blob in inspected["blobs"]] == [
        ("", 2, "stored"), ("model.bin", 10000, "stored"), ("empty", 0, "stored"),
    ]  # fmt: skip
    page = called("images", "inspect", reference).out
    assert "model.bin" in page
    assert "application/vnd.example.model" in page
    assert called("bundle", reference, str(tmp_path / "bundle"), "--copy").status == 9


@pytest.mark.parametrize("kind", [signature, index_of_artifacts])
def test_what_has_an_image_config_or_several_manifests_is_inspected(
    called: Called, fault_registry: FaultRegistry, reference: str, kind: Callable[[Path], Descriptor]
) -> None:
    write_artifact(fault_registry.layout, kind)
    assert called("prepull", "--no-unpack", reference).status == 0

    inspected = called("images", "inspect", reference, "--json").document

    assert len(inspected["manifests"]) == (2 if kind is index_of_artifacts else 1)
    assert {blob["state"] for blob in inspected["blobs"]} == {"stored"}
    assert called("images", "inspect", reference).status == 0


def test_what_an_artifact_says_of_itself_moves_no_cursor(
    called: Called, fault_registry: FaultRegistry, reference: str
) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\nforged line"
    artifact = put_artifact(
        fault_registry.layout, ("application/x", b"{}"), {evil: ("text/plain", b"x")}, artifact_type=evil
    )
    tag(fault_registry.layout, artifact, "artifact")

    outputs = [called("pull", reference), called("pull", "--no-unpack", reference), called("images"),
               called("images", "inspect", reference)]  # fmt: skip

    for done in outputs:
        assert "\x1b" not in done.out + done.err
        assert not any(line.startswith("forged") for line in (done.out + done.err).splitlines())


def test_an_image_that_is_not_unpacked_yet_is_inspected_as_an_image(
    called: Called, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.domain}/team/demo:demo"
    assert called("pull", "--no-unpack", reference).status == 0

    inspected = called("images", "inspect", reference, "--json").document

    assert (inspected["platform"], [layer["state"] for layer in inspected["layers"]]) == ("linux/amd64", ["stored"] * 3)
    assert called("images", "--json").document[0]["artifact_type"] is None
