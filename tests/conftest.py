"""Fixtures that several rooms share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import registries
from tests.image_factory import write_demo_image
from tests.prefect_harness import prefect_server
from tests.wheels import installed

__all__ = ["demo_layout", "docker_registry", "fault_registry", "installed", "prefect_server"]


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.DockerRegistry]:
    """The real docker-registry, empty at first; push to names of your own."""
    with registries.docker_registry(tmp_path_factory.mktemp("docker-registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def demo_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with the demo image as ``demo``; only to be read."""
    layout = tmp_path_factory.mktemp("demo-layout")
    write_demo_image(layout)
    return layout


@pytest.fixture
def fault_registry(tmp_path: Path) -> Iterator[registries.FaultRegistry]:
    """A registry that misbehaves as it is told, with the demo image as tag ``demo`` of any repository.

    Its layout, ``fault_registry.layout``, is the test's own.
    """
    layout = tmp_path / "fault-registry"
    write_demo_image(layout)
    with registries.FaultRegistry(layout) as registry:
        yield registry
