"""The setting ``keep_blobs``: without them, an image needs no more than its diff blobs."""

import http.client
from pathlib import Path

import pytest

from flows.bundle import bundle
from flows.prune import prune
from flows.pull import pull
from prestow.digest import Digest
from prestow.fsck.image import fsck_image
from prestow.registry.server.listener import Server
from prestow.store.node import open_node
from tasks.policy import records
from tests.registries import FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_without_blobs_an_image_is_pulled_again_bundled_verified_and_pruned_as_ever(
    home: str, tmp_path: Path, fault_registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_KEEP_BLOBS", "false")
    reference = f"{fault_registry.domain}/team/demo:demo"
    pulled = pull(reference, home=home)
    node = open_node(home)
    blobs = [Digest(layer.digest) for layer in pulled.layers]
    assert not any(map(node.content.has, blobs))
    asked = len(fault_registry.requests("/blobs/", "GET"))

    for record in list(records(home).iterdir()):
        record.unlink()  # the store alone must be enough
    again = pull(reference, home=home)

    assert (again.fetched_bytes, [layer.state for layer in again.layers]) == (0, ["applied"] * 3)
    assert len(fault_registry.requests("/blobs/", "GET")) == asked
    assert prune(home=home).of("blob") == ()
    bundle(reference, str(tmp_path / "bundle"), copied=True, home=home)
    assert (tmp_path / "bundle/rootfs/etc/motd").exists()
    assert fsck_image(node, node.image(reference)).damaged == ()
    target = node.image(reference).target
    with Server(("127.0.0.1", 0), lambda _: target, node.content) as server:
        assert _status(server, f"manifests/{pulled.manifest_digest}") == 200
        assert _status(server, f"blobs/{blobs[0]}") == 404


def test_with_the_setting_on_again_a_pull_fetches_what_went(
    home: str, fault_registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = f"{fault_registry.domain}/team/demo:demo"
    monkeypatch.setenv("PRESTOW_KEEP_BLOBS", "false")
    first = pull(reference, home=home)
    del open_node(home).__dict__["settings"]  # another process reads them anew
    monkeypatch.setenv("PRESTOW_KEEP_BLOBS", "true")

    second = pull(reference, home=home)

    assert second.fetched_bytes == first.fetched_bytes > 0
    assert all(open_node(home).content.has(Digest(layer.digest)) for layer in second.layers)


def _status(server: Server, path: str) -> int:
    connection = http.client.HTTPConnection(*server.address)
    connection.request("GET", f"/v2/team/demo/{path}")
    status = connection.getresponse().status
    connection.close()
    return status
