"""Doing something as an ordinary user, in a child process."""

import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


def as_nobody(action: Callable[[], object]) -> None:
    """Call something without root's rights; an error there is an error here."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            action()
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the parent is to know
            traceback.print_exc()
        finally:
            os._exit(status)
    _, result = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(result) == 0


@contextmanager
def home_of_nobody() -> Iterator[Path]:
    """Yield a folder that belongs to that user and that he can reach."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # TMPDIR may be closed to him
        os.chown(folder, NOBODY, NOBODY)
        yield Path(folder)
