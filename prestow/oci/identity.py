"""Identity of unpacked layers: from diff IDs to chain IDs (image-spec, config.md, "Layer ChainID").

    diff ID    digest of one layer's tar, uncompressed
    chain ID   of layers 1 … n applied in order:
               chain(1) = diff(1),   chain(n) = sha256(chain(n-1) + " " + diff(n))

The same layer on another parent is another file system, so snapshots are committed under chain IDs.
"""

from collections.abc import Iterable
from itertools import accumulate

from prestow.digest import Digest


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """Return the chain ID of each prefix of ``diff_ids``, lowest layer first."""
    return tuple(accumulate(diff_ids, chained))


def chained(parent: str | None, diff_id: Digest) -> Digest:
    """Return the chain ID of a layer on the chain of its parent, if it has one."""
    return diff_id if parent is None else Digest.of(f"{parent} {diff_id}".encode())
