"""What a real `podman save` writes, in both kinds of archive, is pulled with podman's image ID."""

from pathlib import Path

import pytest

from prestow.store.node import open_node
from tests.handover.conftest import ROOT
from tests.image_factory import demo_layers, write_image
from tests.podman import podman
from tests.pulling import pulled

pytestmark = ROOT


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_what_podman_saves_is_the_same_image_here(tmp_path: Path, kind: str) -> None:
    layout, archive, node = tmp_path / "layout", tmp_path / "saved.tar", open_node(tmp_path / "store")
    write_image(layout, demo_layers("amd64"))
    with podman(tmp_path / "podman", tmp_path / "none") as there:
        there.store.mkdir()
        there.call("pull", f"oci:{layout}:test")
        saved = there.call("images", "--quiet", "--no-trunc").strip()
        there.call("tag", saved, "localhost/demo:1")
        there.call("save", "--quiet", "--format", kind, "--output", str(archive), "localhost/demo:1")

    record, image = pulled(node, f"{kind}:{archive}:localhost/demo:1", "localhost/demo:1", drivers=("erofs",))

    assert (record.name, image.config.digest) == ("localhost/demo:1", saved)
    assert all(node.content.has(layer.diff_id) for layer in image.layers)
