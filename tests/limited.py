"""A pull by a process that may not do something: ``python -m tests.limited FOLDER REFERENCE LIMIT VALUE …``.

``LIMIT`` is one of the module ``resource``, such as ``RLIMIT_FSIZE``. For each value a process is forked that sets it
and pulls into the store ``FOLDER/VALUE``; how that ended is written as a line of JSON: the class of the error, and what
it says. ``+3`` is as many as are in use, and three more: for descriptors.
"""

import json
import os
import resource
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from prestow.errors import PrestowError
from prestow.store.node import open_node
from tests.loops import pull_from

LATE = (
    "config.settings",
    "prestow.store.rebuild",
    "prestow.registry.credentials",
    "prestow.registry.source",
    "prestow.snapshots.drivers.probe",
)
"""What a pull imports when it needs it."""


def forked(work: Callable[[], object]) -> int:
    """Do something in a process of its own, which does not come back from there, and give its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - this process ends here, and not in its parent's code
        traceback.print_exc()
    finally:
        os._exit(status)


def _pull(store: Path, reference: str, limit: int, value: int) -> None:
    ended = ("", "")
    resource.setrlimit(limit, (value, value))
    try:
        pull_from(open_node(store), reference, reference)
    except PrestowError as error:
        ended = (type(error).__name__, str(error))
    os.write(sys.stdout.fileno(), (json.dumps(ended) + "\n").encode())


def main(folder: Path, reference: str, limit: str, values: list[str]) -> int:
    """Pull under each limit, one after the other, and give how many pulls failed with a foreign error."""
    for module in LATE:
        import_module(module)
    used = len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 - that of the listing is closed by now
    children = 0
    for text in values:
        value = int(text) + (used if text.startswith("+") else 0)
        child = forked(lambda text=text, value=value: _pull(folder / text, reference, getattr(resource, limit), value))  # type: ignore[misc]  # the defaults bind them
        children += os.waitpid(child, 0)[1] != 0
    return children


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))
