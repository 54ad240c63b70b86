"""Real images of a distribution's size, in all forms they travel in: what we unpack is what ``umoci`` unpacks.

``base`` is Debian by debootstrap, ``ml`` four layers with Python's scientific packages, 35,000 entries.
"""

from pathlib import Path

import pytest

from flows.bundle import bundle
from flows.pull import pull
from prestow.containers.create import remove_container
from prestow.oci.lookup import find_image
from prestow.platforms import platform_or_host
from prestow.store.node import open_node
from tests.layers.erofs.kernel import sound_image
from tests.real_images import VARIANTS, RealImages
from tests.registries import DockerRegistry
from tests.trees import differences, listing

pytestmark = [pytest.mark.large, pytest.mark.usefixtures("prefect_server")]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tag", ["base", "ml"])
def test_a_copied_root_is_what_umoci_unpacks(
    home: str, tmp_path: Path, docker_registry: DockerRegistry, real_images: RealImages, tag: str, variant: str
) -> None:
    reference = real_images.push(docker_registry, tag, variant)

    first = pull(reference, home=home)
    second = pull(reference, home=home)
    bundle(reference, str(tmp_path / "bundle"), copied=True, home=home)

    assert first.fetched_bytes > 0
    assert second.fetched_bytes == 0
    assert differences(listing(tmp_path / "bundle/rootfs"), real_images.unpacked(tag, tmp_path / "umoci")) == []


@pytest.mark.parametrize("driver", ["erofs", "overlay", "native"])
@pytest.mark.parametrize("tag", ["base", "ml"])
def test_a_mounted_root_is_what_umoci_unpacks(
    home: str, tmp_path: Path, real_images: RealImages, tag: str, driver: str
) -> None:
    real_images.make(tag)
    pull(f"oci:{real_images.layout}:{tag}", driver=driver, home=home)

    bundle(tag, str(tmp_path / "bundle"), id="seen", driver=driver, home=home)

    assert differences(listing(tmp_path / "bundle/rootfs"), real_images.unpacked(tag, tmp_path / "umoci")) == []
    node = open_node(home)
    remove_container(node, "seen")
    if driver == "erofs":
        assert sound_image(node.content, find_image(node.content, node.image(tag).target, platform_or_host(None)))
