"""Hand an image over, and be killed before a call of containerd: ``python -m tests.handover.killed STORE NAME CALL``.

Without being killed it ends with the number of calls.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from prestow.handover.containerd.client import Client
from prestow.handover.hand_over import hand_over
from prestow.oci.lookup import find_image
from prestow.platforms import host
from prestow.store.node import open_node


def main(home: str, name: str, call: int) -> int:
    """Hand over; the result is the number of calls."""
    made = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal made
            made += 1
            if made == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        return wrapped

    Client.call = counted(Client.call)  # type: ignore[method-assign]
    Client.write = counted(Client.write)  # type: ignore[method-assign]
    node = open_node(home)
    hand_over(node, name, find_image(node.content, node.image(name).target, host()))
    return made


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
