"""The warm process of a store, as a program: ``python -P -m flows.cli.warmed FOLDER KEY`` (see ``flows.warm``)."""

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from flows.cli.main import main as command
from flows.cli.verbs import VERBS, module_of
from flows.outliving import leave_starter
from prestow.project import module

_ROOMS = (
    "flows.bundle", "flows.fsck", "flows.hand_over", "flows.prepull", "flows.prune", "flows.pull", "flows.run",
    "flows.runs.crashed", "flows.cli.person", "flows.cli.progress", *map(module_of, VERBS), "config.settings",
    "prefect.flow_engine", "prefect.task_engine", "prefect.deployments.steps.core", "prefect.runner.storage",
    "prestow.registry.client", "prestow.registry.registry", "prestow.snapshots.drivers.all",
    "prestow.snapshots.drivers.probe", "prestow.snapshots.catalog", "prestow.store.recovery",
    "prestow.metadata.containers", "prestow.metadata.handed_over", "prestow.metadata.leases", "prestow.metadata.sets",
    "isal.igzip", "zstandard", "rich.live",
    # what Prefect, and what it uses, imports at the first run
    "prefect.utilities.visualization", "prefect.concurrency._sync", "fastapi.encoders", "anyio._backends._asyncio",
    "encodings.idna",
)  # fmt: skip


def main(folder: str, key: str) -> None:
    """Import all that a run needs, and serve."""
    leave_starter("warm", files=2, to_return=True)
    gc.disable()  # nothing that is imported is garbage
    idle = _idle()
    _import_all(Path(folder).parent)
    from flows.warm.server import Server

    gc.enable()
    Server(folder, key, run, idle).serve()


def run(words: Sequence[str]) -> int:
    """Run a command in this process."""
    return command(words, here=True)


def _idle() -> float:
    """Return the seconds after which an idle process ends."""
    from config.settings import load

    return load().warm_minutes * 60


def _import_all(home: Path) -> None:
    """Import the rooms, with Prefect as it is for a command that uses the store's own server, which saves it much."""
    from flows.orchestration import prepared

    before = dict(os.environ)
    os.environ.update(prepared(home))
    for room in _ROOMS:
        import_module(module(room))
    _complete_models()
    os.environ.clear()
    os.environ.update(before)


def _complete_models() -> None:
    """Let pydantic do for all models what it leaves to the first use of each, which would be in every child."""
    from pydantic import BaseModel

    waiting = BaseModel.__subclasses__()
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        if not model.__pydantic_complete__:
            model.model_rebuild(raise_errors=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
