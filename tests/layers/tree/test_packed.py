"""Packed files: what they save, and that nothing else tells them from inodes."""

import random
import tracemalloc
from collections.abc import Iterator
from io import BytesIO

import pytest

from prestow.errors import InvalidError
from prestow.layers.erofs.image import encode
from prestow.layers.tar.entry import Entry, Extent, Kind
from prestow.layers.tree import LayerTree, layer_tree, merge
from prestow.layers.tree.inode import Inode
from prestow.layers.tree.packed import each, listing
from prestow.snapshots.drivers.overlay_layer import difference
from tests.layers.model import find, seen

_SIZES = [1 << 20] * 3
_NAMES = "efghijklmnopqrst"


@pytest.fixture(autouse=True)
def _pack_from_the_first_node_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prestow.layers.tree.build.MANY_NODES", 0)


def entry(name: str, kind: Kind = Kind.REGULAR, number: int = 1, link: str = "") -> Entry:
    size = number % 3 if kind is Kind.REGULAR else 0
    extents = (Extent(0, number * 512, size),) if size else ()
    return Entry(name.encode(), kind, 0o644, number, 7, number, size, link.encode(), 0, 0, (), extents, number)


def files(folder: str, count: int) -> list[Entry]:
    return [entry(f"{folder}/f{number}", number=number) for number in range(count)]


def written(root: Inode, block_bits: int = 9) -> bytes:
    file = BytesIO()
    encode(root, _SIZES, block_bits=block_bits).write(file)
    return file.getvalue()


def is_packed(root: Inode, path: str) -> bool:
    inode: Inode | None = root
    for name in path.split("/"):
        assert inode is not None
        inode = inode.child(name.encode())
    return inode is not None and inode.packed is not None


def many(count: int) -> Iterator[Entry]:
    """Yield files as a tar's reader does: each with a name, a size and an offset of its own, 20 in a directory."""
    for number in range(count):
        name, size = f"d{number // 20:05d}/f{number:07d}".encode(), 300 + number
        offset = number * 1024
        yield Entry(name, Kind.REGULAR, 0o644, 0, 0, 0, size, b"", 0, 0, (), (Extent(0, offset, size),), offset)


def test_a_file_takes_less_than_150_bytes_from_the_scan_to_its_place_in_the_image() -> None:
    count = 20_000
    tracemalloc.start()
    try:
        encode(merge(None, layer_tree(many(count), 0)), [1 << 30])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak / count < 150  # 456 as inodes


@pytest.mark.parametrize(("block_bits", "images"), [(9, 150), (12, 20)])
def test_packed_or_not_all_comes_to_the_same(block_bits: int, images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = [_image(seed) for seed in range(images)]
    assert sum(_packed_directories(trees[-1]) for trees in packed if trees) > images // 4

    monkeypatch.setattr("prestow.layers.tree.build.pack", lambda *_: None)
    for seed, trees in enumerate(packed):
        expected = _image(seed)
        assert len(trees) == len(expected)
        assert [written(root, block_bits) for root in trees] == [written(root, block_bits) for root in expected]
        assert [*map(seen, _differences(trees))] == [*map(seen, _differences(expected))]
        assert [*map(seen, trees)] == [*map(seen, expected)]


def _differences(trees: list[Inode]) -> list[Inode]:
    return [difference(lower, merged) for lower, merged in zip([None, *trees], trees, strict=False)]


def _image(seed: int) -> list[Inode]:
    """Return the trees after each of up to three layers of names that collide."""
    chance = random.Random(seed)
    roots: list[Inode] = []
    for index in range(3):
        layer = _layer(chance, index)
        try:
            roots.append(merge(roots[-1] if roots else None, layer))
        except InvalidError:
            break
    return roots


def _layer(chance: random.Random, index: int) -> LayerTree:
    entries = [_random_entry(chance, index, number) for number in range(1, 1 + chance.choice((3, 20, 60)))]
    if chance.random() < 0.7:  # as archives are written, one directory after the other
        entries.sort(key=lambda entry: entry.name.rpartition(b"/")[0])
    try:
        return layer_tree(entries, index)
    except InvalidError:
        return layer_tree([entry for entry in entries if entry.kind is not Kind.HARDLINK], index)


def _random_entry(chance: random.Random, index: int, number: int) -> Entry:
    folder, base, other = chance.choice((".", "a", "a/b", "c")), chance.choice(_NAMES), chance.choice(_NAMES)
    kind = chance.choice([Kind.REGULAR] * 40 + [Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK])
    if kind is Kind.HARDLINK:
        return entry(f"{folder}/{base}", kind, link=f"{chance.choice(('.', 'a', 'a/b'))}/{other}")
    if kind is Kind.SYMLINK and chance.random() < 0.5:
        return entry("c", kind, link="a/b")
    if index and chance.random() < 0.1:
        return entry(f"{folder}/.wh.{other}")
    return entry(f"{folder}/{base}", kind, number, "a" if kind is Kind.SYMLINK else "")


def _packed_directories(root: Inode) -> int:
    found, pending = 0, [root]
    while pending:
        inode = pending.pop()
        found += inode.packed is not None
        pending += [child for child in inode.loose.values() if child.kind is Kind.DIRECTORY]
    return found


def test_a_directory_is_packed_when_the_archive_leaves_it_or_ends() -> None:
    root = layer_tree([*files("a", 9), *files("a/b", 9), *files("c", 9), *files("d", 3)], 0).root

    assert [is_packed(root, path) for path in ("a", "a/b", "c", "d")] == [True, True, True, False]


def test_a_layer_of_few_files_has_none_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prestow.layers.tree.build.MANY_NODES", 20)

    root = layer_tree([entry for folder in "abcd" for entry in files(folder, 9)], 0).root

    assert [is_packed(root, path) for path in "abcd"] == [False, False, True, True]


def test_an_archive_that_comes_back_does_not_have_a_directory_packed_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[int] = []
    monkeypatch.setattr(
        "prestow.layers.tree.build.pack", lambda directory, _: packed.append(len(directory.children or {}))
    )
    entries = [entry(f"{'ab'[number % 2]}/f{number}", number=number) for number in range(20_000)]

    layer_tree(entries, 0)

    assert sum(packed) < 3 * len(entries)


def test_unpacked_files_are_the_same_inodes_in_all_trees() -> None:
    layer = layer_tree(files("a", 9), 0)
    first, second = merge(None, layer), merge(None, layer)

    assert find(first, "a/f1") is find(second, "a/f1") is find(layer.root, "a/f1")
    assert not is_packed(first, "a")


def test_files_stay_packed_when_a_layer_adds_some_and_takes_some() -> None:
    lower = merge(None, layer_tree([*files("a", 9), *files("b", 9), *files("c", 9)], 0))
    upper = [entry("a/new", Kind.SYMLINK, link="b"), entry("b/f3", number=50), entry("c/.wh.f4")]

    root = merge(lower, layer_tree(upper, 1))

    assert [is_packed(root, path) for path in "abc"] == [True, True, True]
    assert {name.decode() for name, _ in each(root.loose[b"c"])} == {f"f{number}" for number in range(9) if number != 4}
    assert find(root, "b/f3").uid == 50
    assert find(root, "b/f4") is find(lower, "b/f4")
    assert [is_packed(tree, "b") for tree in (root, lower)] == [False, False]


def test_files_that_a_second_layer_takes_from_are_unpacked() -> None:
    first = merge(None, layer_tree(files("a", 9), 0))
    second = merge(first, layer_tree([entry("a/f3", number=50)], 1))
    third = merge(second, layer_tree([entry("a/f4", number=51)], 2))

    assert not is_packed(third, "a")
    assert find(third, "a/f5") is find(second, "a/f5") is find(first, "a/f5")
    assert [find(third, f"a/{name}").uid for name in ("f3", "f4", "f5")] == [50, 51, 5]


def test_a_layer_that_replaces_all_files_of_a_directory_keeps_its_own_packed() -> None:
    lower = merge(None, layer_tree(files("a", 9), 0))

    root = merge(lower, layer_tree(files("a", 12), 1))

    assert [is_packed(tree, "a") for tree in (root, lower)] == [True, True]
    assert {inode.layer for _, inode in each(root.loose[b"a"])} == {1, -1}  # empty files have no layer


def test_a_hard_link_to_a_packed_file_is_the_same_inode_in_every_tree() -> None:
    lower = merge(None, layer_tree(files("a", 9), 0))
    root = merge(lower, layer_tree([entry("b", Kind.HARDLINK, link="a/f1")], 1))

    assert find(root, "b") is find(root, "a/f1") is find(lower, "a/f1")


def test_a_time_that_no_record_holds_keeps_its_inode() -> None:
    late = entry("a/late")._replace(mtime_ns=2**63)
    root = layer_tree([*files("a", 9), late], 0).root

    assert is_packed(root, "a")
    assert dict(listing(root.loose[b"a"]))[b"late"] is root.loose[b"a"].loose[b"late"]
