"""Hand an image over, and be killed on the way: ``python -m tests.handover.killed STORE NAME RUNTIME POINT``.

The points, in the order in which they are met: each call of containerd, once before it is sent and once while its
answer is waited for, each link, and each file or directory that is synced; or, for podman, each change of a directory,
mount or question to podman. A process that meets fewer ends with their number.
"""

import itertools
import os
import signal
import sys
from typing import Any

from prestow.handover.hand_over import hand_over
from prestow.oci.lookup import find_image
from prestow.platforms import host
from prestow.snapshots.mounts import syscalls
from prestow.store.node import open_node

_CHANGES = {"os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.truncate", "subprocess.Popen"}


class Points:
    """Counts points, and ends the process at one of them; threads may meet them at the same time."""

    def __init__(self, last: int) -> None:
        """End at the point of this number; at none if there are not so many."""
        self._numbers, self._last = itertools.count(1), last

    def count(self) -> int:
        """Count one, and return its number."""
        number = next(self._numbers)
        if number == self._last:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    def watch(self, owner: Any, name: str) -> None:
        """Let the calls of a function count, before they do anything."""
        function = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.count()
            return function(*args, **kwargs)

        setattr(owner, name, wrapped)


def main(home: str, name: str, runtime: str, point: int) -> int:
    """Hand over; the result is the number of points."""
    node = open_node(home)
    image = find_image(node.content, node.image(name).target, host())
    points = Points(point)
    if runtime == "podman":
        sys.addaudithook(lambda event, _: points.count() if event in _CHANGES else None)
        for change in ("mount", "mount_new", "umount"):
            points.watch(syscalls, change)
    else:
        from prestow.handover.containerd import client

        for owner, function in ((client.Client, "call"), (client.Client, "write"), (client, "_awaited")):
            points.watch(owner, function)
        points.watch(os, "link")
        points.watch(os, "fsync")
    hand_over(node, name, image, runtime)
    return points.count() - 1


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
