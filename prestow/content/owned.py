"""Names of what a process makes for a while: they tell whose it is, so that what a dead one left is known as such.

<stem>.<random>.<boot ID>.<pid>.<start time>
"""

import secrets

from prestow.content.boot import Process

_FIELDS = 4


def owned_name(stem: str) -> str:
    """Give a name that nobody uses, for something of this process."""
    process = Process.current()
    return f"{stem}.{secrets.token_hex(8)}.{process.boot_id}.{process.pid}.{process.started}"


def is_abandoned(name: str) -> bool:
    """Whether something bears such a name and its process has ended; what does not tell whose it is, never counts."""
    stem, *fields = name.rsplit(".", _FIELDS)
    if not stem or len(fields) != _FIELDS or not all(field.isdecimal() for field in fields[2:]):
        return False
    owner = Process(fields[1], int(fields[2]), int(fields[3]))
    known = bool(owner.boot_id and owner.started)  # /proc may have been out of reach
    return known and not owner.alive()
