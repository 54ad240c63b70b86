"""Foreign layers on the command line: refused with a sentence, or fetched from an allowed host."""

import json
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.oci.mediatypes import OCI_FOREIGN_LAYER
from tests.certificates import self_signed
from tests.flows.cli.conftest import Called
from tests.image_factory import put_blob, put_documents, tag
from tests.registries import FaultRegistry
from tests.tar_builder import Tar


def test_a_pull_says_what_a_foreign_layer_is_and_fetches_it_where_that_is_allowed(
    called: Called, fault_registry: FaultRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, tar = self_signed(tmp_path), Tar().file("f", b"theirs").to_bytes()
    layer = put_blob(tmp_path / "vendor", tar, OCI_FOREIGN_LAYER)
    with FaultRegistry(tmp_path / "vendor", certificate=certificate) as vendor:
        named = layer._replace(urls=(f"{vendor.url}/v2/theirs/blobs/{layer.digest}",))
        tag(fault_registry.layout, put_documents(fault_registry.layout, [named], [Digest.of(tar)]), "foreign")
        reference = f"{fault_registry.domain}/team/app:foreign"

        refused = called("pull", reference)

        assert (refused.status, vendor.accepted) == (3, 0)
        assert "it is a foreign layer, which registries need not have" in refused.err
        assert "to fetch it from there, add that host to foreign_layer_hosts" in refused.err

        for name in ("FOREIGN_LAYER_HOSTS", "TRUSTED_HOSTS"):
            monkeypatch.setenv(f"PRESTOW_{name}", json.dumps(["127.0.0.1"]))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        monkeypatch.setenv("PRESTOW_HOME", str(tmp_path / "another"))
        pulled = called("pull", reference, "--json")

        assert (pulled.status, pulled.document["checkpoint"]) == (0, "tagged")
        assert len(vendor.seen) == 1


@pytest.mark.parametrize("entry", ["https://vendor.example", "vendor.example:443", "a b", "", "*.example"])
def test_a_host_that_no_url_can_match_is_an_error(called: Called, monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    monkeypatch.setenv("PRESTOW_FOREIGN_LAYER_HOSTS", json.dumps([entry]))

    done = called("pull", "127.0.0.1:1/app")

    assert done.status == 2
    assert "foreign_layer_hosts" in done.err
    assert "without scheme, port, path" in done.err
