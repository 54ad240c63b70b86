"""Fixtures that several rooms share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import registries
from tests.image_factory import write_demo_image
from tests.prefect_harness import deploying, prefect_api, prefect_server
from tests.server_logs import logs_of_the_session, pytest_runtest_teardown
from tests.wheels import installed

__all__ = [
    "demo_layout", "deploying", "docker_registry", "fault_registry", "installed", "logs_of_the_session", "prefect_api",
    "prefect_server", "pytest_runtest_teardown",
]  # fmt: skip

pytest_plugins = ["tests.hanging", "tests.spreading", "tests.started"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell script
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("loaded", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loaded")  # how quick a machine is says nothing about us


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
