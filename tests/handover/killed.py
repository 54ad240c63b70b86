"""Hand an image over, and be killed on the way: ``python -m tests.handover.killed STORE NAME RUNTIME CALL``.

Killed before a call of containerd; or, for podman, before a change of a directory, a mount or a question to podman.
Without being killed it ends with the number of calls.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from prestow.handover.hand_over import hand_over
from prestow.oci.lookup import find_image
from prestow.platforms import host
from prestow.snapshots.mounts import syscalls
from prestow.store.node import open_node

_CHANGES = {"os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.truncate", "subprocess.Popen"}


class Calls:
    """Counts calls, and ends the process before one of them."""

    def __init__(self, last: int) -> None:
        """End before the call of this number; before none if there are not so many."""
        self.made, self._last = 0, last

    def count(self) -> None:
        """Count one."""
        self.made += 1
        if self.made == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let the calls of a function count."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.count()
            return function(*args, **kwargs)

        return wrapped


def main(home: str, name: str, runtime: str, call: int) -> int:
    """Hand over; the result is the number of calls."""
    node = open_node(home)
    image = find_image(node.content, node.image(name).target, host())
    calls = Calls(call)
    if runtime == "podman":
        sys.addaudithook(lambda event, _: calls.count() if event in _CHANGES else None)
        for change in ("mount", "mount_new", "umount"):
            setattr(syscalls, change, calls.counted(getattr(syscalls, change)))
    else:
        from prestow.handover.containerd.client import Client

        for method in ("call", "write"):
            setattr(Client, method, calls.counted(getattr(Client, method)))
    hand_over(node, name, image, runtime)
    return calls.made


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
