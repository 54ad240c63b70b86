"""What containerd is asked tells a usable image from one that only looks so."""

import subprocess
from pathlib import Path

import pytest

from prestow.errors import InvalidError, RuntimeFailedError, UnsupportedError
from prestow.handover.hand_over import hand_over, is_handed_over
from prestow.oci.image import Image
from prestow.store.node import open_node
from tests.handover.conftest import ROOT, Host
from tests.image_factory import demo_layers, write_image
from tests.pulling import NAME, pulled

pytestmark = ROOT

BY_DIGEST = "is not known there"


def archive(host: Host, layout: Path) -> Path:
    """An archive of the demo image, as skopeo makes it."""
    path = host.folder / "demo.tar"
    copy = ["skopeo", "copy", "-q", "--all", f"oci:{layout}:demo", f"oci-archive:{path}:demo"]
    subprocess.run(copy, check=True, timeout=60)
    return path


def test_an_image_in_another_namespace_is_not_seen_by_pods(host: Host, demo: Image, demo_layout: Path) -> None:
    host.containerd.ctr("images", "import", "--index-name", NAME, str(archive(host, demo_layout)), namespace="default")

    (found,) = host.in_use(NAME)

    assert (found.in_use, set(found.resolves.values())) == (False, {False})


def test_an_import_lacks_the_name_by_digest(host: Host, demo: Image, demo_layout: Path) -> None:
    words = ("images", "import", "--snapshotter", host.kind.snapshotter, "--index-name", NAME)
    host.containerd.ctr(*words, str(archive(host, demo_layout)))

    (found,) = host.in_use(NAME)

    assert not found.in_use
    assert not found.resolves[f"localhost/demo@{demo.target.digest}"]
    assert any(BY_DIGEST in fault for fault in found.faults)


def test_layers_that_only_another_snapshotter_has_do_not_count(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    snapshots = host.containerd.ctr("snapshots", "--snapshotter", host.kind.snapshotter, "ls").splitlines()[1:]
    for chain in reversed([line.split()[0] for line in snapshots]):
        host.containerd.ctr("snapshots", "--snapshotter", host.kind.snapshotter, "rm", chain, check=False)
    for chain in [layer.chain_id for layer in reversed(demo.layers)]:
        host.containerd.ctr("snapshots", "--snapshotter", host.kind.snapshotter, "rm", chain, check=False)

    (found,) = host.in_use(NAME)
    assert (found.in_use, found.unpacked) == (False, False)
    assert any("not unpacked in snapshotter" in fault for fault in found.faults)

    host.hand_over(demo)
    assert host.in_use(NAME)[0].in_use


def test_a_misspelt_pin_is_no_pin(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    host.containerd.ctr("images", "label", demo.config.digest, "io.cri.containerd.pinned=pinned")

    assert not is_handed_over(host.node, NAME, demo, "auto", pin=True)
    assert is_handed_over(host.node, NAME, demo, "auto", pin=False)


def test_a_pin_is_read_back_from_cri(host: Host, demo: Image) -> None:
    if host.kind.name == "debian":
        with pytest.raises(RuntimeFailedError, match=r"pins images since 1\.7"):
            host.hand_over(demo, pin=True)
        return
    assert host.hand_over(demo, pin=True).pinned
    assert host.hand_over(demo).pinned, "only --undo takes a pin back"


def test_the_pin_goes_from_an_image_whose_name_moved(host: Host, demo: Image, tmp_path: Path) -> None:
    if host.kind.name == "debian":
        pytest.skip("containerd 1.6 has no pins")
    host.hand_over(demo, pin=True)
    write_image(tmp_path / "oci", demo_layers("amd64"), config={"Env": ["NEW=1"]})
    newer = pulled(host.node, f"oci:{tmp_path / 'oci'}:test", NAME)[1]

    host.hand_over(newer, pin=True)

    listed = host.containerd.ctr("images", "ls").splitlines()
    pinned = [line.split()[0] for line in listed if "pinned=pinned" in line]
    assert pinned == [newer.config.digest]


@pytest.fixture
def other(host: Host, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Settings for another namespace than that of Kubernetes, for a store opened after this."""
    monkeypatch.setenv("PRESTOW_CONTAINERD_NAMESPACE", "moby")
    return monkeypatch


def test_in_another_namespace_the_snapshotter_has_to_be_named(
    host: Host, other: pytest.MonkeyPatch, demo_layout: Path
) -> None:
    node = open_node(host.folder / "second")
    image = pulled(node, f"oci:{demo_layout}:demo", NAME)[1]
    with pytest.raises(UnsupportedError, match=r"set runtime_snapshotter to one of: .*overlayfs"):
        hand_over(node, NAME, image)

    other.setenv("PRESTOW_RUNTIME_SNAPSHOTTER", host.kind.snapshotter)
    node = open_node(host.folder / "third")
    image = pulled(node, f"oci:{demo_layout}:demo", NAME)[1]
    assert hand_over(node, NAME, image).namespace == "moby"
    assert NAME in host.containerd.ctr("images", "ls", "-q", namespace="moby").split()
    assert host.containerd.ctr("images", "ls", "-q") == ""


def test_a_snapshotter_that_containerd_has_not_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_RUNTIME_SNAPSHOTTER", "stargz")
    node = open_node(host.folder / "second")
    write_image(host.folder / "oci", demo_layers("amd64"))
    image = pulled(node, f"oci:{host.folder / 'oci'}:test", NAME)[1]

    with pytest.raises(InvalidError, match="no working snapshotter 'stargz'"):
        hand_over(node, NAME, image)
