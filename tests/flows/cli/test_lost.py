"""Prefect's database is lost between two runs: the store knows how far a pull had come, and needs nobody to tell."""

import shutil
from collections.abc import Iterator

import pytest

from flows.local_server.ensure import stop
from tests.checkpoints import large_but
from tests.flows.cli.conftest import Prestow
from tests.registries import FaultRegistry
from tests.server_logs import check_log


@pytest.fixture
def alone(alone: Prestow) -> Iterator[Prestow]:
    """The command on a store with a server of its own."""
    yield alone
    stop(alone.home)


@pytest.mark.long
@pytest.mark.parametrize("checkpoint", large_but("layer-stored"))
def test_a_pull_that_was_stopped_goes_on_from_its_checkpoint_with_an_empty_database(
    alone: Prestow, fault_registry: FaultRegistry, checkpoint: str
) -> None:
    reference = f"{fault_registry.domain}/team/demo:demo"
    first = alone("pull", reference, "--stop-after", checkpoint, "--json")
    assert first.document["checkpoint"] == checkpoint, first.err

    check_log(alone.home)  # before its end interrupts what it writes, of which it complains and which it does again
    stop(alone.home)
    shutil.rmtree(alone.home / "prefect")
    second = alone("pull", reference, "--json")

    assert second.document["checkpoint"] == "tagged", second.err
    fetched = [seen.path for seen in fault_registry.requests("sha256:", "GET")]
    assert len(fetched) == len(set(fetched))
