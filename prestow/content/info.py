"""The records of a content store: of a blob that is here, and of an ingest. Its interface is in ``store.py``."""

from typing import NamedTuple

from prestow.digest import Digest


class Info(NamedTuple):
    """A blob that is here.

    Attributes:
        digest: its name.
        size: its bytes.
        created_at: seconds since the epoch.
        shared: whether its file has further names, by which a runtime has it that it was handed over to.
    """

    digest: Digest
    size: int
    created_at: float
    shared: bool = False

    @property
    def freed(self) -> int:
        """Bytes that its removal gives back to the disk."""
        return 0 if self.shared else self.size


class Status(NamedTuple):
    """An ingest that waits to be resumed or committed.

    Attributes:
        ref: its name; empty if its first writer died before it could be noted.
        offset: bytes that are here.
        total: bytes that are expected, where known.
        sealed: whether its writer said that the bytes are complete.
        updated_at: when bytes were last added, in seconds since the epoch.
    """

    ref: str
    offset: int
    total: int | None
    sealed: bool
    updated_at: float
