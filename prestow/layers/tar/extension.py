"""Extension headers: what stands in front of a member's header block because the block has no room for it.

    x   PAX records for the next member          L   its name, GNU's way
    g   PAX records for all that follow          K   its link target, GNU's way

Records for all are not looked at: containerd ignores them too, and honouring them would rename every file.
"""

from prestow.layers.tar.pax import Fields, bad, parse

FLAGS = (b"x", b"g", b"L", b"K")
IGNORED = b"g"


class Extensions:
    """What extension headers say about the next member; each kind may come once."""

    __slots__ = ("link", "name", "records")

    def __init__(self) -> None:
        self.records: Fields | None = None
        self.name: bytes | None = None
        self.link: bytes | None = None

    def add(self, flag: bytes, body: bytes, offset: int) -> None:
        """Take one in."""
        if {b"x": self.records, b"L": self.name, b"K": self.link}[flag] is not None:
            raise bad("two extension headers of one kind for one member", offset)
        if flag == b"x":
            self.records = parse(body, offset)
        elif flag == b"L":
            self.name = _long(body, offset)
        else:
            self.link = _long(body, offset)

    def fields(self, offset: int) -> Fields:
        """Return all of it as PAX has it; refuse two names, or two targets."""
        fields = self.records or {}
        for keyword, value in ((b"path", self.name), (b"linkpath", self.link)):
            if value is not None:
                if keyword in fields:
                    raise bad(f"two extension headers that set {keyword.decode()}", offset)
                fields[keyword] = value
        return fields


def _long(body: bytes, offset: int) -> bytes:
    name = body.rstrip(b"\0")
    if not name or b"\0" in name:
        raise bad("a GNU long name that is empty, or has a zero byte inside", offset)
    return name
