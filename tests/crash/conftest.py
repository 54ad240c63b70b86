"""The stage on which all tests of crashes in this folder play."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from prestow.store.node import open_node
from tests.crash.stage import Stage, push_image
from tests.registries import DockerRegistry


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what mounts where mounting is not allowed."""
    for item in items:
        if os.geteuid() and "stage" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="needs root to mount"))


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, docker_registry: DockerRegistry) -> Iterator[Stage]:
    """Yield a stage on a tmpfs, on which everything was done once."""
    folder = tmp_path_factory.mktemp("stage")
    subprocess.run(["mount", "-t", "tmpfs", "prestow-test", folder], check=True)
    stage = Stage(folder, docker_registry, *push_image(docker_registry, folder / "layout"))
    try:
        stage.warm()
        yield stage
    finally:
        open_node(stage.warmed).database.close()
        subprocess.run(["umount", "--recursive", "--lazy", folder], check=True)  # a process that ends may be in it
