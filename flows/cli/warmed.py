"""The warm process of a store, as a program: ``python -P -m flows.cli.warmed FOLDER KEY`` (see ``flows.warm``)."""

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from flows.cli.main import main as command
from flows.warm.place import keep_only_ours

_ROOMS = (
    "flows.bundle", "flows.prepull", "flows.prune", "flows.pull", "flows.run", "flows.cli.progress",
    "prefect.engine", "prefect.deployments.steps.core", "prefect.runner.storage",
    "prestow.registry.client", "prestow.registry.registry", "prestow.snapshots.probe", "isal.igzip", "zstandard",
)  # fmt: skip


def main(folder: str, key: str) -> None:
    """Import all that a run needs, and serve."""
    keep_only_ours()
    gc.disable()  # nothing that is imported is garbage
    idle = _idle()
    _import_all()
    from flows.warm.server import Server  # noqa: PLC0415 - no command needs it

    gc.enable()
    Server(folder, key, run, idle).serve()


def run(words: Sequence[str]) -> int:
    """Run a command in this process."""
    return command(words, here=True)


def _idle() -> float:
    """Give the seconds after which an idle process ends."""
    from config.settings import load  # noqa: PLC0415 - pydantic

    return load().warm_minutes * 60


def _import_all() -> None:
    """Import the rooms, with Prefect as quiet as it is for a command, which saves each of them setting it up."""
    from flows.cli.session import quieten  # noqa: PLC0415 - as the rest
    from flows.orchestration import LEAN  # noqa: PLC0415 - as the rest

    before = dict(os.environ)
    os.environ.update(LEAN)
    quieten(os.environ)
    for room in _ROOMS:
        import_module(room)
    os.environ.clear()
    os.environ.update(before)


if __name__ == "__main__":
    main(*sys.argv[1:])
