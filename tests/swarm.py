"""Many processes that pull at the same moment: ``python -m tests.swarm STORE COUNT REFERENCE …``.

Everything is imported once; then each process is forked, waits for the others, opens the store and pulls two of the
images, in an order of its own. What each has decompressed is written as a line of JSON: the names of the ingests that
it began to fill anew, as the interpreter's audit sees them.
"""

import json
import os
import random
import sys
import traceback
from importlib import import_module
from pathlib import Path

from prestow.store.node import open_node
from tests.loops import pull_from

_IMAGES_EACH = 2
_LATE = (
    "config.settings",
    "prestow.registry.credentials",
    "prestow.registry.source",
    "prestow.snapshots.drivers.probe",
)


def _watch(begun: list[str]) -> None:
    """Note the ref of each ingest that is emptied, which is how decompression begins."""

    def heard(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.truncate":
            data = Path(f"/proc/self/fd/{arguments[0]}").readlink()
            begun.append((data.parent / "ref").read_text())

    sys.addaudithook(heard)


def _pull(store: str, references: list[str], gate: int) -> None:
    begun: list[str] = []
    _watch(begun)
    os.read(gate, 1)  # ends when all have been forked
    node = open_node(store)
    for reference in references:
        pull_from(node, reference, reference)
    os.write(sys.stdout.fileno(), (json.dumps(begun) + "\n").encode())


def _forked(store: str, references: list[str], gate: tuple[int, int]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.close(gate[1])
        _pull(store, references, gate[0])
        status = 0
    except BaseException:  # noqa: BLE001 - this process ends here, and not in its parent's code
        traceback.print_exc()
    finally:
        os._exit(status)


def main(store: str, count: int, references: list[str]) -> int:
    """Let so many processes pull, and give how many of them failed."""
    for module in _LATE:  # which a pull imports when it needs them
        import_module(module)
    gate = os.pipe()
    order = [random.Random(seed).sample(references, _IMAGES_EACH) for seed in range(count)]
    children = [_forked(store, each, gate) for each in order]
    os.close(gate[1])
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
