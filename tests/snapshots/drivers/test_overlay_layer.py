"""What a layer's folder holds, laid over what is below it, shows the merged tree; overlayfs itself is the judge."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.layers.materialise import materialise
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Inode, walk
from prestow.snapshots.drivers.overlay_layer import OPAQUE, _bare, difference
from prestow.snapshots.mounts.mount import mount_all, overlaid, unmount
from tests.trees import Layers, Sample, differences, inode_listing, listing, names, samples

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")


def folder(**children: Inode) -> Inode:
    inode = Inode(Kind.DIRECTORY)
    inode.children = {name.encode(): child for name, child in children.items()}
    return inode


def file(mode: int = 0o644) -> Inode:
    return Inode(Kind.REGULAR, mode)


def shape(root: Inode) -> dict[str, str]:
    """Return each path with what is special about it."""
    found = {}
    for path, inode in walk(root):
        hidden = inode.kind is Kind.CHAR and (inode.major, inode.minor) == (0, 0)
        found[path.decode()] = "whiteout" if hidden else "opaque" if OPAQUE in inode.xattrs else ""
    return found


def test_on_nothing_it_is_the_tree_itself() -> None:
    tree = folder(a=file())

    assert difference(None, tree) is tree


def test_an_unchanged_tree_needs_its_root_only() -> None:
    shared = folder(a=file(), b=folder(c=file()))

    assert shape(difference(folder(s=shared), folder(s=shared))) == {"": ""}


def test_what_is_gone_is_hidden_where_it_was_and_nowhere_else() -> None:
    lower = folder(a=file(), b=folder(c=file(), d=file()))
    merged = folder(b=folder(d=(lower.children or {})[b"b"].children[b"d"]))  # type: ignore[index] # a folder

    assert shape(difference(lower, merged)) == {"": "", "a": "whiteout", "b": "", "b/c": "whiteout"}


def test_an_opaque_root_becomes_whiteouts_since_overlayfs_ignores_its_mark() -> None:
    assert shape(difference(folder(a=file(), b=file()), folder(c=file()))) == {
        "": "", "a": "whiteout", "b": "whiteout", "c": "",
    }  # fmt: skip


def test_a_folder_that_was_removed_and_made_again_is_opaque() -> None:
    assert shape(difference(folder(d=folder(old=file())), folder(d=folder(new=file())))) == {
        "": "", "d": "opaque", "d/new": "",
    }  # fmt: skip


def test_a_new_folder_needs_no_marks() -> None:
    assert shape(difference(folder(), folder(d=folder(new=file())))) == {"": "", "d": "", "d/new": ""}


def test_a_folder_in_the_place_of_a_file_needs_no_marks_nor_the_other_way_round() -> None:
    assert shape(difference(folder(a=file(), b=folder(c=file())), folder(a=folder(), b=file()))) == {
        "": "", "a": "", "b": "",
    }  # fmt: skip


def test_a_new_name_of_a_lower_file_brings_its_old_names_along() -> None:
    both = file()
    lower = folder(d=folder(a=both), other=file())
    merged = folder(d=lower.children[b"d"], other=lower.children[b"other"], b=both)  # type: ignore[index]

    result = difference(lower, merged)

    assert shape(result) == {"": "", "b": "", "d": "", "d/a": ""}
    assert result.children[b"b"] is result.children[b"d"].children[b"a"]  # type: ignore[index]


def test_a_lost_name_of_a_file_has_it_made_again_under_the_others() -> None:
    both = file()

    assert shape(difference(folder(a=both, b=both), folder(b=both))) == {"": "", "a": "whiteout", "b": ""}


@st.composite
def changes(draw: st.DrawFn) -> tuple[Sample, list[Inode]]:
    """Return the bytes of layers and a row of trees, each of which was made from the one before."""
    first, other = draw(samples()), draw(samples())
    for inode in {inode for _, inode in walk(other.root)}:
        inode.layer += len(first.layers) if inode.layer >= 0 else 0
    material = [inode for _, inode in walk(other.root)]
    trees = [first.root]
    for _ in range(draw(st.integers(1, 3))):
        files = [inode for _, inode in walk(trees[-1]) if inode.children is None]
        trees.append(_changed(draw, trees[-1], [*material, *files]))
    return Sample(first.root, first.layers + other.layers), trees


def _changed(draw: st.DrawFn, inode: Inode, material: Sequence[Inode]) -> Inode:
    copy = _bare(inode)
    copy.mtime_ns = draw(st.sampled_from([inode.mtime_ns, 1]))
    assert copy.children is not None
    for name, child in sorted((inode.children or {}).items())[:20]:
        match draw(st.sampled_from(["keep", "change", "drop", "replace"])):
            case "change" if child.children is not None:
                copy.children[name] = _changed(draw, child, material)
            case "replace":
                copy.children[name] = _placed(draw(st.sampled_from(material)))
            case "keep" | "change":
                copy.children[name] = child
    copy.children |= draw(st.dictionaries(names(), st.sampled_from(material).map(_placed), max_size=2))
    return copy


def _placed(inode: Inode) -> Inode:
    """Return an inode for another place: files get a further name, folders cannot, so they are copied."""
    if inode.children is None:
        return inode
    copy = _bare(inode)
    copy.children = {name: _placed(child) for name, child in inode.children.items()}
    return copy


@contextmanager
def stacked(trees: Sequence[Inode], layers: Layers, place: Path) -> Iterator[Path]:
    """Mount the differences of a row of trees on top of each other."""
    lowers: list[Path] = []
    for index, tree in enumerate(trees):
        lowers.insert(0, place / f"{index}")
        below = trees[index - 1] if index else None
        materialise(difference(below, tree), layers.open, lowers[0], privileged=True)
    for name in ("empty", "mnt"):
        (place / name).mkdir()
    mount_all([overlaid([*lowers, place / "empty"])], place / "mnt")
    try:
        yield place / "mnt"
    finally:
        unmount(place / "mnt")


@settings(deadline=None, max_examples=10)
@given(changes())
def test_the_kernel_shows_any_change_of_any_tree(case: tuple[Sample, list[Inode]]) -> None:
    sample, trees = case
    with tempfile.TemporaryDirectory() as place:
        layers = sample.save(Path(place))

        with stacked(trees, layers, Path(place)) as target:
            assert differences(listing(target), inode_listing(trees[-1], layers.open)) == []
