"""Fixtures that several rooms share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import registries
from tests.image_factory import write_demo_image


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
def fault_registry(demo_layout: Path) -> Iterator[registries.FaultRegistry]:
    """A registry with the demo image as tag ``demo`` of any repository, that misbehaves as it is told."""
    with registries.FaultRegistry(demo_layout) as registry:
        yield registry
