"""Names of what a process makes for a while: they tell whose it is, so that what a dead one left is known as such.

<stem>.<random>.<boot ID>.<PID namespace>.<pid>.<start time>
"""

import secrets

from prestow.content.boot import Process

_FIELDS = 5


def owned_name(stem: str) -> str:
    """Give a name that nobody uses, for something of this process."""
    process = Process.current()
    whose = f"{process.boot_id}.{process.namespace}.{process.pid}.{process.started}"
    return f"{stem}.{secrets.token_hex(8)}.{whose}"


def is_abandoned(name: str) -> bool:
    """Whether something bears such a name and its process has ended; what does not tell whose it is, never counts."""
    stem, *fields = name.rsplit(".", _FIELDS)
    if not stem or len(fields) != _FIELDS or not all(field.isdecimal() for field in fields[2:]):
        return False
    namespace, pid, started = map(int, fields[2:])
    return Process(fields[1], pid, started, namespace).ended()
