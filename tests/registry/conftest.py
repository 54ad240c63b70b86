"""Fixtures of the registry's tests: a source, and a store to fetch into."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.reference import Reference
from prestow.registry.hosts import Options
from prestow.registry.source import Source, Sources
from tests.registries import FaultRegistry


@pytest.fixture
def content(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "content", tmp_path / "ingest", durable=False)


@pytest.fixture
def sources() -> Iterator[Sources]:
    with Sources(Options()) as opened:
        yield opened


@pytest.fixture
def remote(fault_registry: FaultRegistry, sources: Sources) -> Source:
    return sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo"))
