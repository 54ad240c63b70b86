"""Metadata images: what the encoder promises, and what it refuses."""

import random
import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest

from prestow.errors import ExhaustedError, InvalidError, MismatchError, UnsupportedError
from prestow.layers.erofs.format import crc32c
from prestow.layers.erofs.image import MetadataImage, encode
from prestow.layers.tar.entry import Extent, Kind
from prestow.layers.tree.inode import Inode, walk
from tests.trees import Layers, directory, other, regular

_MIB = 1 << 20


def _bytes(image: MetadataImage) -> bytes:
    file = BytesIO()
    image.write(file)
    return file.getvalue()


def _tree(seed: int) -> Inode:
    """Make the same tree for any seed, with its names put in another order."""
    chance = random.Random(seed)

    def folder(prefix: bytes, depth: int) -> Inode:
        names = [prefix + b"%03d" % number for number in range(60)]
        chance.shuffle(names)
        children = {name: regular(Extent(0, 512 * int(name[-3:]), 100)) for name in names}
        if depth:
            children[b"inner"] = folder(prefix + b"i", depth - 1)
        return directory(children)

    return folder(b"f", 2)


def test_the_same_tree_gives_the_same_bytes_whatever_order_it_was_built_in() -> None:
    assert _bytes(encode(_tree(1), [_MIB])) == _bytes(encode(_tree(2), [_MIB]))


def test_a_different_tree_has_a_different_uuid() -> None:
    first, second = _tree(1), _tree(1)
    second.mtime_ns = 1

    uuids = {_bytes(encode(tree, [_MIB]))[1024 + 48 : 1024 + 64] for tree in (first, second)}

    assert len(uuids) == 2
    assert all(uuid[6] >> 4 == 8 and uuid[8] >> 6 == 2 for uuid in uuids)


def test_size_and_inodes_are_known_before_anything_is_written() -> None:
    tree = _tree(1)
    image = encode(tree, [_MIB])

    assert image.size == len(_bytes(image))
    assert image.size % 512 == 0
    assert image.inodes == len(list(walk(tree)))


def test_files_with_the_time_of_most_take_less() -> None:
    files = {b"%03d" % number: regular(Extent(0, 512 * number, 9)) for number in range(1000)}
    same = encode(directory(files), [_MIB]).size
    for number, file in enumerate(files.values()):
        file.mtime_ns = number

    assert encode(directory(files), [_MIB]).size - same == pytest.approx(999 * 32, abs=512)


def test_files_fill_what_directories_leave_of_a_block() -> None:
    """Of 512 bytes a directory takes 320 here, so that no second one fits, but two files do."""
    groups = 100
    children: dict[bytes, Inode] = {}
    for number in range(groups):
        children |= {b"%02d-%d" % (number, place): directory({b"n" * 200: other(Kind.FIFO)}) for place in (0, 1)}
        children |= {b"%02d-%d" % (number, place): regular(Extent(0, 0, 1)) for place in (2, 3, 4, 5)}
        for place in (2, 3, 4, 5):
            children[b"%02d-%d" % (number, place)].mtime_ns = 10 * number + place

    pipes, names, head = groups * 2 * 64, len(children) * (12 + 4), 1536

    assert encode(directory(children), [512]).size < groups * 1024 + pipes + 1.1 * names + head + 512


def test_the_checksum_is_that_of_the_kernel() -> None:
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283


def test_data_that_starts_at_a_block_stays_in_the_layer() -> None:
    holes = regular(Extent(4096, 512, 4096), Extent(16384, 4608, 100), size=16484)
    adjoining = regular(Extent(0, 512, 700), Extent(700, 1212, 800))

    assert encode(directory({b"holes": holes, b"adjoining": adjoining}), [_MIB]).side_size == 0


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (regular(Extent(0, 100, 10)), "it starts amid a block"),
        (regular(Extent(0, 512, 700), Extent(4096, 1212, 100)), "a later run starts amid a block"),
        (regular(Extent(0, 512, 700), size=4096), "a hole starts amid a block"),
        (regular(Extent(0, _MIB - 512, 100)), "the tar ends amid its last block"),
        (regular(Extent(0, 512, 512), Extent(_MIB, 1024, 512), size=2 * _MIB), "the map would be larger than the data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_data_that_cannot_stay_in_the_layer_goes_to_the_side_file(file: Inode, why: str) -> None:
    image = encode(directory({b"file": file}), [_MIB - 100])

    assert image.side_size == -(-file.size // 4096) * 4096


def test_a_hole_of_a_tebibyte_takes_no_room_anywhere() -> None:
    image = encode(directory({b"hole": regular(size=1 << 40)}), [])

    assert image.side_size == 0
    assert image.size <= 4096


def test_what_the_side_file_cannot_hold_is_refused() -> None:
    sparse = {b"%d" % i: regular(Extent(3, 512, 10), size=1 << 40) for i in range(3)}

    with pytest.raises(ExhaustedError, match="sparse files of 2199023255552 bytes"):
        encode(directory(sparse), [_MIB])


def test_a_layer_beyond_the_reach_of_a_block_number_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="layer of 2251799813685248 bytes"):
        encode(directory({}), [1 << 51])


def test_a_layer_that_shrank_is_noticed_when_the_side_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(bytes(600))
    image = encode(directory({b"file": regular(Extent(0, 100, 1000))}), [4096])

    with (tmp_path / "side").open("xb") as side, pytest.raises(MismatchError, match="ends at byte 600"):
        image.write_side(side, Layers((path,)).open)


def test_a_full_disk_is_told() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(ExhaustedError, match="metadata image"):
        encode(directory({}), []).write(full)


@pytest.mark.parametrize(
    ("child", "message"),
    [
        ({b"n" * 256: other(Kind.FIFO)}, "name of 256 bytes"),
        ({b"tty": other(Kind.CHAR, major=4096)}, "device number 4096:0"),
        ({b"tty": other(Kind.CHAR, minor=1 << 20)}, "device number 0:1048576"),
        ({b"tty": other(Kind.BLOCK, major=-1)}, "device number -1:0"),
        ({b"link": other(Kind.HARDLINK, link=b"gone")}, "'gone'"),
        ({b"file": regular(size=0, xattrs=((b"bogus.x", b""),))}, "'bogus.x'"),
        ({b"file": regular(size=0, xattrs=tuple((b"user.%d" % i, bytes(60_000)) for i in range(5)))}, "of 300"),
    ],
)
def test_what_no_file_can_be_is_refused(child: dict[bytes, Inode], message: str) -> None:
    with pytest.raises(InvalidError, match=f"'folder[^']*': .*{message}"):
        encode(directory({b"folder": directory(child)}), [])


def test_memory_per_inode_is_small() -> None:
    tree = directory(
        {
            b"folder-%02d" % i: directory({b"f%04d" % j: regular(Extent(0, 0, 512)) for j in range(1000)})
            for i in range(20)
        }
    )

    tracemalloc.start()
    image = encode(tree, [_MIB])
    with Path("/dev/null").open("wb") as nowhere:
        image.write(nowhere)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (peak - 4 * _MIB) / image.inodes < 200
