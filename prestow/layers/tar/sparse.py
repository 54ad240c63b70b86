"""Sparse files in tar: which runs of a file are stored, and what lies between is a hole.

    old GNU    type flag S: 4 runs in the header, 21 more in each block behind it while its last flag says so
    PAX 0.0    records GNU.sparse.offset and GNU.sparse.numbytes, a pair a run
    PAX 0.1    record GNU.sparse.map: offset,length,offset,length…
    PAX 1.0    before the data, in the member's body: count, offset, length, …, a line each, padded to a block

Runs ascend, do not overlap, lie inside the file, and are together as long as what is stored: so none of four readers
can understand a different file.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from prestow.layers.tar.entry import Extent
from prestow.layers.tar.header import BLOCK, number
from prestow.layers.tar.pax import SPARSE_MAP, Fields, bad, decimal

Read = Callable[[int], bytes]
"""Gives the next bytes of the archive, exactly as many as asked for."""

_NUMBER = 12
_OLD_RUNS = slice(386, 482)
_OLD_MORE = 482
_OLD_SIZE = slice(483, 495)
_NEXT_RUNS = slice(0, 504)
_NEXT_MORE = 504

_VERSIONS = {(b"1", b"0"): True, (b"0", b"0"): False, (b"0", b"1"): False}


def is_sparse(fields: Fields) -> bool:
    """Whether the records of a member say that it is sparse."""
    return b"GNU.sparse.major" in fields or b"GNU.sparse.size" in fields or SPARSE_MAP in fields


def pax_size(fields: Fields, offset: int) -> int:
    """Return the length of the file, holes included."""
    value = fields.get(b"GNU.sparse.realsize") or fields.get(b"GNU.sparse.size") or b""
    return decimal(value, "size of a sparse file", offset)


def map_in_body(fields: Fields, offset: int) -> bool:
    """Whether the map stands in front of the data (format 1.0), and not in the records.

    Raises:
        InvalidError: an unknown version.
    """
    version = fields.get(b"GNU.sparse.major", b"0"), fields.get(b"GNU.sparse.minor", b"0")
    if version not in _VERSIONS:
        raise bad("unknown version of the sparse format", offset)
    return _VERSIONS[version]


def record_map(fields: Fields, offset: int) -> list[int]:
    """Return the map of format 0.0 or 0.1, offsets and lengths in turn."""
    text = fields.get(SPARSE_MAP, b"")
    numbers = [decimal(digits, "sparse map: number", offset) for digits in text.split(b",")] if text else []
    count = fields.get(b"GNU.sparse.numblocks")
    if count is not None and decimal(count, "sparse map: number of runs", offset) * 2 != len(numbers):
        raise bad("sparse map: not as many runs as it says", offset)
    return numbers


def body_map(read: Read, limit: int, offset: int) -> list[int]:
    """Read the map of format 1.0, in the first blocks of a body."""
    taken = bytearray()
    lines, wanted = 0, 1
    while lines < wanted:
        if len(taken) >= limit:
            raise bad(f"sparse map: longer than its body, or than {limit} bytes", offset)
        block = read(BLOCK)
        taken += block
        lines += block.count(b"\n")
        if wanted == 1 and lines:
            wanted += 2 * decimal(bytes(taken.partition(b"\n")[0]), "sparse map: number of runs", offset)
    numbers = bytes(taken).split(b"\n", wanted)[1:wanted]
    return [decimal(digits, "sparse map: number", offset) for digits in numbers]


def old_map(header: bytes, read: Read, limit: int, offset: int) -> tuple[list[int], int]:
    """Read the map of an old GNU header and of the blocks behind it, and give it with the length of the file."""
    parts = [header[_OLD_RUNS]]
    more = header[_OLD_MORE]
    while more:
        if len(parts) * BLOCK > limit:
            raise bad(f"sparse map: longer than {limit} bytes", offset)
        block = read(BLOCK)
        parts.append(block[_NEXT_RUNS])
        more = block[_NEXT_MORE]
    runs = b"".join(parts)
    fields = [runs[at : at + _NUMBER] for at in range(0, len(runs), _NUMBER)]
    used = [field for pair in zip(fields[::2], fields[1::2], strict=True) if pair[0][0] for field in pair]
    return [number(field, offset) for field in used], number(header[_OLD_SIZE], offset)


def extents(numbers: Sequence[int], start: int, stored: int, size: int, offset: int) -> tuple[Extent, ...]:
    """Return the runs of a map as extents of the tar, from ``start`` on, where ``stored`` bytes lie.

    Raises:
        InvalidError: they do not make one file of ``size`` bytes.
    """
    runs = list(zip(numbers[::2], numbers[1::2], strict=False))
    ends = [(at, at + length) for at, length in runs]
    ordered = all(end <= at for (_, end), (at, _) in pairwise(ends))
    inside = not ends or (min(numbers) >= 0 and ends[-1][1] <= size)
    if len(numbers) % 2 or not ordered or not inside:
        raise bad("sparse map: its runs do not ascend, or overlap, or pass the end of the file", offset)
    if sum(numbers[1::2]) != stored:
        raise bad(f"sparse map: {sum(numbers[1::2])} bytes in its runs, but {stored} are stored", offset)
    found = []
    for at, length in runs:
        if length:
            found.append(Extent(at, start, length))
        start += length
    return tuple(found)
