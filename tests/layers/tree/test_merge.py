"""Whiteouts, opaque marks, and files on files: what a layer means on those below it."""

from typing import NamedTuple

import pytest

from prestow.errors import InvalidError
from prestow.layers.limits import Limits
from prestow.layers.tar.entry import Kind
from prestow.layers.tree import Inode, LayerDirectory, merge, walk
from tests.layers.model import data, find, image, layer, paths, seen
from tests.tar_builder import Tar

LOWER = (
    Tar().directory("d", mode=0o700, uid=5, mtime=3).file("d/old", b"old").file("a", b"1").directory("e").file("e/f")
)


class Case(NamedTuple):
    """A layer on LOWER, and what is left."""

    upper: Tar
    left: str


CASES = {
    "a whiteout hides": Case(Tar().whiteout("a"), "d d/old e e/f"),
    "a whiteout hides a directory": Case(Tar().whiteout("d"), "a e e/f"),
    "a whiteout hides nothing of its own layer": Case(Tar().file("a", b"2").whiteout("a"), "a d d/old e e/f"),
    "a whiteout before its replacement": Case(Tar().whiteout("a").file("a", b"2"), "a d d/old e e/f"),
    "a directory hidden and made again is new": Case(Tar().whiteout("d").file("d/new"), "a d d/new e e/f"),
    "a directory made and hidden is new": Case(Tar().directory("d").file("d/new").whiteout("d"), "a d d/new e e/f"),
    "a whiteout of nothing": Case(Tar().whiteout("zz").whiteout("d/zz"), "a d d/old e e/f"),
    "a whiteout in a new directory": Case(Tar().directory("nd").whiteout("nd/ghost"), "a d d/old e e/f nd"),
    "a whiteout in a directory that is nowhere": Case(Tar().whiteout("nd/x/ghost"), "a d d/old e e/f"),
    "an opaque mark in a directory that is nowhere": Case(Tar().opaque("nd"), "a d d/old e e/f"),
    "a whiteout below a file": Case(Tar().whiteout("a/x"), "a d d/old e e/f"),
    "a hidden directory, then a whiteout in it": Case(Tar().whiteout("d").whiteout("d/old"), "a e e/f"),
    "a whiteout in a directory, then it is hidden": Case(Tar().whiteout("d/old").whiteout("d"), "a e e/f"),
    "an opaque directory": Case(Tar().directory("d").opaque("d").file("d/new"), "a d d/new e e/f"),
    "an opaque mark after its siblings": Case(Tar().directory("d").file("d/new").opaque("d"), "a d d/new e e/f"),
    "an opaque mark alone": Case(Tar().opaque("d"), "a d e e/f"),
    "an opaque root": Case(Tar().file(".wh..wh..opq").file("b"), "b"),
    "an opaque mark and a whiteout": Case(Tar().opaque("d").whiteout("d/old"), "a d e e/f"),
    "a whiteout that is a directory": Case(Tar().directory(".wh.a"), "d d/old e e/f"),
    "a whiteout that is a symlink": Case(Tar().symlink(".wh.a", "d"), "d d/old e e/f"),
    "a whiteout that is a device": Case(Tar().char(".wh.a", 0, 0), "d d/old e e/f"),
    "a whiteout that is a hard link": Case(Tar().hardlink(".wh.a", "nothing"), "d d/old e e/f"),
    "a whiteout with a body": Case(Tar().file(".wh.a", b"body" * 200).file("z"), "d d/old e e/f z"),
    "a whiteout through a symlink": Case(Tar().symlink("l", "/e").file("l/.wh.f"), "a d d/old e l"),
    "a whiteout through a symlink that leads out": Case(Tar().symlink("l", "../../e").whiteout("l/f"), "a d d/old e l"),
    "a whiteout as a directory of a name": Case(Tar().file(".wh.d/x"), ".wh.d .wh.d/x a d d/old e e/f"),
    "marks of aufs are files": Case(Tar().file(".wh..wh.plnk/1.2"), ".wh..wh.plnk .wh..wh.plnk/1.2 a d d/old e e/f"),
    "a file on a directory": Case(Tar().file("d"), "a d e e/f"),
    "a directory on a file": Case(Tar().directory("a").file("a/x"), "a a/x d d/old e e/f"),
    "an unnamed directory on a file": Case(Tar().file("a/x"), "a a/x d d/old e e/f"),
    "a directory on a directory": Case(Tar().directory("d").file("d/new"), "a d d/new d/old e e/f"),
    "a symlink on a directory": Case(Tar().symlink("d", "e"), "a d e e/f"),
    "a file, then a directory of a hidden one": Case(Tar().file("d").directory("d").file("d/y"), "a d d/y e e/f"),
    "an empty layer": Case(Tar(), "a d d/old e e/f"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_left_of_a_layer_below(case: str) -> None:
    upper, left = CASES[case]

    assert sorted(paths(image(LOWER, upper))) == left.split()


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh...", "d/.wh../"])
def test_a_whiteout_of_nothing_or_of_dots_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="a whiteout of nothing, or of a dot"):
        layer(Tar().file(name))


@pytest.mark.parametrize("name", ["../.wh.x", "d/../.wh.x", "../.wh..wh..opq"])
def test_a_whiteout_outside_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="a name with"):
        layer(Tar().file(name))


def test_a_replacement_is_the_upper_layers() -> None:
    upper = Tar().file("a", b"two", mode=0o600, mtime=9)
    root = image(LOWER, upper)

    assert data(root, "a", LOWER, upper) == b"two"
    assert (find(root, "a").layer, find(root, "d/old").layer) == (1, 0)


def test_a_directory_named_again_takes_the_new_attributes_even_if_they_are_fewer() -> None:
    lower = Tar().directory("d", mode=0o700, uid=5, xattrs={"user.a": "b"}).file("d/x")
    root = image(lower, Tar().directory("d", mode=0o711, mtime=8))

    assert (find(root, "d").mode, find(root, "d").uid, find(root, "d").xattrs) == (0o711, 0, ())
    assert paths(root) == {"d", "d/x"}


def test_a_directory_that_only_holds_something_new_keeps_its_attributes() -> None:
    root = image(LOWER, Tar().file("d/new").whiteout("e/f"))

    assert (find(root, "d").mode, find(root, "d").uid, find(root, "d").mtime_ns) == (0o700, 5, 3 * 10**9)


def test_a_directory_made_anew_does_not_keep_the_hidden_ones_attributes() -> None:
    root = image(LOWER, Tar().whiteout("d").file("d/new"))

    assert (find(root, "d").mode, find(root, "d").uid, find(root, "d").mtime_ns) == (0o755, 0, 0)


def test_the_root_takes_attributes_like_every_directory() -> None:
    first, second = Tar().directory(".", mode=0o700), Tar().directory("./", mode=0o711)

    assert image(first, Tar().file("x")).mode == 0o700
    assert image(first, second).mode == 0o711


@pytest.mark.parametrize("target", ["/etc", "etc"])
def test_a_symlink_of_a_layer_below_is_replaced_and_not_followed(target: str) -> None:
    lower = Tar().directory("etc").file("etc/a").symlink("l", target)
    root = image(lower, Tar().file("l/b"))

    assert paths(root) == {"etc", "etc/a", "l", "l/b"}
    assert find(root, "l").kind is Kind.DIRECTORY


def test_merged_usr_is_hidden_by_a_layer_that_does_not_know_of_it() -> None:
    lower = Tar().directory("usr/lib").file("usr/lib/a").symlink("lib", "usr/lib")
    root = image(lower, Tar().directory("lib").file("lib/b"))

    assert paths(root) == {"usr", "usr/lib", "usr/lib/a", "lib", "lib/b"}


def test_a_whiteout_below_a_symlink_of_a_lower_layer_does_nothing() -> None:
    lower = Tar().directory("usr/bin").file("usr/bin/a").symlink("bin", "usr/bin")

    assert seen(image(lower, Tar().whiteout("bin/a"))) == seen(image(lower))


def test_a_hard_link_may_name_a_file_of_a_layer_below() -> None:
    root = image(LOWER, Tar().hardlink("h", "d/old").hardlink("i", "./h").symlink("s", "d").hardlink("j", "s/old"))

    assert find(root, "h") is find(root, "i") is find(root, "j") is find(root, "d/old")


@pytest.mark.parametrize(
    "upper",
    [
        Tar().hardlink("h", "a").whiteout("a"),
        Tar().whiteout("a").hardlink("h", "a"),
        Tar().hardlink("h", "a").file("a", b"new"),
    ],
)
def test_a_hard_link_names_the_file_that_was_there_before_the_layer(upper: Tar) -> None:
    assert data(image(LOWER, upper), "h", LOWER, upper) == b"1"


@pytest.mark.parametrize("target", ["d", "d/none", "none/x", "a/x", "d/old/x"])
def test_a_hard_link_to_what_is_no_file_below_is_refused(target: str) -> None:
    with pytest.raises(InvalidError, match=f"a hard link to '{target}', which is no file"):
        image(LOWER, Tar().hardlink("h", target))


def test_a_hard_link_does_not_follow_symlinks_of_the_layers_below() -> None:
    lower = Tar().directory("d").file("d/t").symlink("s", "d")

    assert find(image(lower, Tar().hardlink("h", "s")), "h").kind is Kind.SYMLINK
    with pytest.raises(InvalidError, match="a hard link to 's/t'"):
        image(lower, Tar().hardlink("h", "s/t"))


def test_merging_changes_neither_of_its_inputs() -> None:
    lower, upper = image(LOWER), layer(Tar().opaque("d").file("d/new").whiteout("a").hardlink("h", "e/f"), 1)
    before = seen(lower), seen(upper.root)

    merge(lower, upper)

    assert (seen(lower), seen(upper.root)) == before


def test_what_a_layer_leaves_alone_is_shared() -> None:
    lower = image(LOWER)
    root = merge(lower, layer(Tar().file("d/new"), 1))

    assert find(root, "e") is find(lower, "e")
    assert find(root, "d/old") is find(lower, "d/old")
    assert find(root, "d") is not find(lower, "d")


def test_an_image_has_no_marks_of_layers_left() -> None:
    root = image(LOWER, Tar().opaque("d").whiteout("a").hardlink("h", "e/f"))

    assert {type(inode) for _, inode in walk(root)} == {Inode}
    assert all(inode.kind is not Kind.HARDLINK for _, inode in walk(root))


def test_the_tree_of_a_layer_tells_its_marks() -> None:
    root = layer(Tar().opaque("d").whiteout("d/x").file("e/f").whiteout("y")).root
    marked, holding = find(root, "d"), find(root, "e")

    assert isinstance(marked, LayerDirectory)
    assert isinstance(holding, LayerDirectory)
    assert (marked.opaque, marked.whiteouts, marked.implicit, marked.required) == (True, {b"x"}, True, False)
    assert (holding.opaque, set(holding.whiteouts), holding.implicit, holding.required) == (False, set(), True, True)
    assert root.whiteouts == {b"y"}


def test_walking_gives_parents_first_and_names_in_byte_order() -> None:
    root = image(Tar().file("b/x").file("a-").file("a/b").file("B").file(b"\xff"))

    assert [path for path, _ in walk(root)] == [b"", b"B", b"a", b"a/b", b"a-", b"b", b"b/x", b"\xff"]


def test_thousands_of_whiteouts_are_only_names() -> None:
    limits = Limits(max_entries=30_000)
    tar = Tar()
    for number in range(30_000):
        tar.whiteout(f"gone{number}")

    assert paths(merge(image(LOWER), layer(tar, 1, limits))) == paths(image(LOWER))


def test_five_hundred_layers_are_merged() -> None:
    tars = [
        Tar().file(f"d{number % 7}/{number}").whiteout(f"d{(number - 7) % 7}/{number - 7}") for number in range(500)
    ]

    assert {path for path in paths(image(*tars)) if "/" in path} == {f"d{n % 7}/{n}" for n in range(493, 500)}
