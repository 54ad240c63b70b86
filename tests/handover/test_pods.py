"""Kubernetes' pods on images that were handed over, by CRI alone: no registry is there that could be asked."""

from pathlib import Path

from prestow.metadata.tag import tag
from prestow.oci.image import Image
from tests.cri import Cri
from tests.flows.cli.conftest import Prestow
from tests.handover.conftest import ROOT, Host
from tests.image_factory import DEMO_CONFIG, MOTD, demo_layers, write_image
from tests.pulling import NAME, pulled
from tests.registries import DockerRegistry
from tests.serving import serving
from tests.tar_builder import Tar

pytestmark = ROOT


REMOTE = "registry.example/team/demo:1"


def test_a_pod_starts_by_tag_digest_and_id(host: Host, demo: Image, kubelet: Cri, tmp_path: Path) -> None:
    host.hand_over(demo)

    for number, image in enumerate((NAME, f"localhost/demo@{demo.target.digest}", demo.config.digest)):
        assert kubelet.output(image, tmp_path / f"logs-{number}") == (0, MOTD.decode())


def test_what_kubelet_removed_comes_back(host: Host, demo: Image, kubelet: Cri, tmp_path: Path) -> None:
    host.hand_over(demo)
    kubelet.remove(NAME)
    assert not host.in_use(NAME)[0].in_use

    host.hand_over(demo)

    assert kubelet.output(NAME, tmp_path / "logs") == (0, MOTD.decode())


def test_an_image_on_the_same_layers_is_pulled_by_containerd_and_runs(
    host: Host, kubelet: Cri, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    name, layout = f"{host.kind.name}/above", tmp_path / "oci"
    below = demo_layers("amd64")
    write_image(layout, below, config=DEMO_CONFIG, ref="below")
    write_image(layout, [*below, Tar().file("etc/motd", b"Above.\n").to_bytes()], config=DEMO_CONFIG, ref="above")
    image = pulled(host.node, f"oci:{layout}:below", f"{docker_registry.domain}/{name}:below")[1]
    host.hand_over(image, f"{docker_registry.domain}/{name}:below")
    tagged = docker_registry.push(layout, "above", f"{name}:above")

    kubelet.pull(tagged)

    assert kubelet.output(tagged, tmp_path / "logs") == (0, "Above.\n")


def test_pulled_always_it_comes_from_the_store_without_its_layers_and_stays_pinned(
    host: Host, demo: Image, kubelet: Cri, tmp_path: Path
) -> None:
    tag(host.node.database, host.node.content, REMOTE, demo.target)
    pinned = host.kind.name != "debian"  # that one knows no pins
    host.hand_over(demo, REMOTE, pin=pinned)
    for layer in demo.layers:  # who asks for one would fail
        host.node.content.delete(layer.descriptor.digest)

    certificates = host.containerd.folder / "certs.d"
    with serving(Prestow(host.node.home, {}, tmp_path), "--hosts-toml", str(certificates)):
        assert kubelet.pull(REMOTE) == demo.config.digest

    (found,) = host.in_use(REMOTE)
    assert (found.in_use, found.pinned) == (True, pinned)
    assert kubelet.output(REMOTE, tmp_path / "logs") == (0, MOTD.decode())
