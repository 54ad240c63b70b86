"""Names, symlinks, hard links, attributes: how the entries of one layer become its tree."""

import struct

import pytest

from prestow.errors import InvalidError
from prestow.layers.limits import Limits
from prestow.layers.tar.entry import Kind
from prestow.layers.tree import layer_tree, walk
from tests.layers.model import data, find, image, layer, paths, scan
from tests.tar_builder import Tar

DEEP = "/".join("d" for _ in range(257))


@pytest.mark.parametrize("name", ["/etc/x", "//etc/x", "./etc/x", "/./etc//x", "etc/./x", ".//etc/./x"])
def test_a_name_starts_at_the_root_however_it_is_written(name: str) -> None:
    assert paths(image(Tar().file(name, b"1"))) == {"etc", "etc/x"}


@pytest.mark.parametrize("name", ["..", "../x", "a/../x", "/../victim/x", "a/../../victim/x", "a/..", "../", "a/b/.."])
def test_a_name_with_two_dots_is_refused(name: str) -> None:
    tar = Tar().directory("a").directory("a/b").file(name, b"1")

    with pytest.raises(InvalidError, match=r"entry '.*\.\..*' at byte 1024: a name with \.\."):
        layer(tar)


def test_a_name_with_two_dots_is_refused_when_the_prefix_field_has_them() -> None:
    with pytest.raises(InvalidError, match="a name with"):
        layer(Tar().file("x", prefix=".."))


@pytest.mark.parametrize("name", ["", ".", "./", "/", "/.", ".//."])
def test_only_a_directory_may_be_the_root(name: str) -> None:
    described = image(Tar().member(name, typeflag=b"5", mode=0o711, uid=7))

    assert (described.mode, described.uid) == (0o711, 7)
    for tar in (Tar().file(name), Tar().symlink(name, "../victim"), Tar().file("t").hardlink(name, "t")):
        with pytest.raises(InvalidError, match="root directory"):
            layer(tar)


@pytest.mark.parametrize(
    "name", [b"a\n\x1b[2Jb", b"\xff\xfe", "\u202eevil".encode(), b"\x01", b" ", b"...", b"..a", b".a"]
)
def test_names_are_kept_byte_for_byte(name: bytes) -> None:
    assert [path for path, _ in walk(image(Tar().directory(b"d").file(b"d/" + name)))] == [b"", b"d", b"d/" + name]


def test_an_odd_name_is_harmless_in_messages() -> None:
    with pytest.raises(InvalidError, match="is not a directory") as caught:
        layer(Tar().file(b"\n\x1b[2J").file(b"\n\x1b[2J/x"))

    assert str(caught.value).isprintable()


def test_names_that_differ_by_case_are_different() -> None:
    assert paths(image(Tar().file("A").file("a"))) == {"A", "a"}


@pytest.mark.parametrize("name", ["n" * 256, "n" * 256 + "/x", "a/" + "n" * 300])
def test_a_component_of_more_than_255_bytes_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="at most 255"):
        layer(Tar().file(name))


def test_a_component_of_255_bytes_is_accepted() -> None:
    assert paths(image(Tar().file("n" * 255))) == {"n" * 255}


@pytest.mark.parametrize("name", [f"{DEEP}/x", DEEP + "/d" * 3000, "d/" * 2048 + "x"])
def test_too_many_directories_inside_each_other_are_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="more than"):
        layer(Tar().file(name))


def test_symlinks_do_not_help_to_go_deeper() -> None:
    tar = Tar().directory("a/b/c").symlink("s", "a/b/c").directory("s/d/e")

    assert "a/b/c/d/e" in paths(image(tar))
    with pytest.raises(InvalidError, match="more than 5 directories"):
        layer(tar.file("s/d/e/f/g"), limits=Limits(max_depth=5))


def test_missing_directories_are_made_for_root() -> None:
    root = image(Tar().file("p/q/r", uid=5, mode=0o600))
    made = find(root, "p/q")

    assert (made.kind, made.mode, made.uid, made.mtime_ns) == (Kind.DIRECTORY, 0o755, 0, 0)


def test_a_directory_keeps_its_time_and_children_when_named_again() -> None:
    root = image(Tar().directory("d", mtime=5, mode=0o700).file("d/x", mtime=9).directory("d", mtime=7, mode=0o711))

    assert paths(root) == {"d", "d/x"}
    assert (find(root, "d").mtime_ns, find(root, "d").mode) == (7 * 10**9, 0o711)


def test_of_two_entries_of_one_name_the_last_counts() -> None:
    tar = Tar().file("f", b"1", mode=0o600).file("f", b"22", mode=0o640)
    root = image(tar)

    assert data(root, "f", tar) == b"22"
    assert find(root, "f").mode == 0o640


def test_a_file_below_a_file_is_refused() -> None:
    with pytest.raises(InvalidError, match="entry 'f/c' at byte 512: its parent 'f' is not a directory"):
        layer(Tar().file("f").file("f/c"))


def test_a_file_may_replace_a_directory_and_the_other_way_round() -> None:
    tar = Tar().directory("d").file("d/x").file("d", b"file").file("f").directory("f").file("f/y")

    assert paths(image(tar)) == {"d", "f", "f/y"}


# Symlinks


@pytest.mark.parametrize("target", ["/etc", "../../etc", "/../etc/.", "../../../../../../etc", "./etc/../etc"])
def test_a_symlink_as_a_parent_stays_inside_the_layer(target: str) -> None:
    root = image(Tar().symlink("l", target).file("l/x", b"1"))

    assert paths(root) == {"l", "etc", "etc/x"}


def test_a_relative_symlink_starts_where_it_stands() -> None:
    root = image(Tar().directory("a/b").symlink("a/b/l", "../c").file("a/b/l/x"))

    assert "a/c/x" in paths(root)


def test_a_symlink_in_the_last_component_is_replaced() -> None:
    root = image(Tar().symlink("l", "/victim/hello").file("l", b"evil"))

    assert paths(root) == {"l"}
    assert find(root, "l").kind is Kind.REGULAR


def test_two_dots_behind_a_symlink_are_those_of_its_target() -> None:
    tar = Tar().directory("a/b/c").symlink("a/b/c/up", "../..").symlink("a/b/escape", "c/up/../..")
    tar.file("t").hardlink("x", "a/b/escape/t").file("a/b/escape/made")

    root = image(tar)

    assert find(root, "x") is find(root, "t")
    assert find(root, "made").kind is Kind.REGULAR


def test_a_directory_may_become_a_symlink_and_a_directory_again() -> None:
    tar = Tar().directory("foo").symlink("foo", "/").file("foo/tmp/x").directory("foo").file("foo/y")

    assert paths(image(tar)) == {"foo", "foo/y", "tmp", "tmp/x"}


def test_a_parent_is_looked_up_again_after_it_was_replaced() -> None:
    tar = Tar().directory("d").file("d/x").directory("e").symlink("d", "e").file("d/y")
    tar.symlink("d", "f").file("d/z")

    assert paths(image(tar)) == {"d", "e", "e/y", "f", "f/z"}


def test_a_symlink_into_nothing_makes_its_target() -> None:
    assert paths(image(Tar().symlink("dang", "/new/dir").file("dang/x"))) == {"dang", "new", "new/dir", "new/dir/x"}


@pytest.mark.parametrize("tar", [Tar().symlink("a", "b").symlink("b", "a"), Tar().symlink("a", "a/a")])
def test_a_loop_of_symlinks_is_refused(tar: Tar) -> None:
    with pytest.raises(InvalidError, match="too many symlinks"):
        layer(tar.file("a/x"))


@pytest.mark.long
def test_a_layer_cannot_ask_for_days_of_following_symlinks() -> None:
    tar = Tar().directory("d")
    for number in range(39):
        tar.symlink(f"l{number}", "d/../" * 818 + f"l{number + 1}")
    tar.symlink("l39", "d")
    *links, entry = scan(tar.file("l0/x"))
    many = (entry._replace(name=b"l0/" + b"./" * number + b"x") for number in range(1000))

    with pytest.raises(InvalidError, match="lead through too many symlinks"):
        layer_tree([*links, *many], 0)


def test_the_kernels_own_symlinks_mean_nothing() -> None:
    tar = Tar().symlink("l", "/proc/self/root").file("l/etc/x").symlink("m", "/proc/self/fd/7").file("m/y")

    assert {"proc/self/root/etc/x", "proc/self/fd/7/y"} <= paths(image(tar))


def test_long_paths_through_many_short_symlinks_are_only_names() -> None:
    tar, folder = Tar(), "d" * 247
    for depth, letter in enumerate("abcdefghijklmnop"):
        tar.directory("/".join([folder] * (depth + 1)))
        tar.symlink("/".join([folder] * depth + [letter]), folder)
    tar.symlink("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/far", "../" * 40 + "etc").file("far2", b"")
    tar.file("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/far/x", b"inside")

    assert "etc/x" in paths(image(tar))


@pytest.mark.parametrize("target", [b"", b"t" * 4096])
def test_a_symlink_to_nothing_or_too_far_is_refused(target: bytes) -> None:
    tar = Tar().symlink("l", target) if target else Tar().member("l", typeflag=b"2")

    with pytest.raises(InvalidError, match=f"a symlink to {len(target)} bytes"):
        layer(tar)


# Hard links


@pytest.mark.parametrize("target", ["t", "./t", "/t", "//t", "s/t", "/s/./s/t"])
def test_a_hard_link_is_another_name_of_one_inode(target: str) -> None:
    root = image(Tar().file("t", b"1").symlink("s", "/").hardlink("h", target))

    assert find(root, "h") is find(root, "t")


@pytest.mark.parametrize("target", ["../victim/hello", "/../victim/hello", "d/../t", "..", "", "/", "."])
def test_a_hard_link_out_of_the_layer_is_refused(target: str) -> None:
    with pytest.raises(InvalidError, match="names no file of an image"):
        layer(Tar().hardlink("h", target))


def test_a_hard_link_to_a_symlink_is_that_symlink_and_nothing_is_done_to_its_target() -> None:
    tar = Tar().file("shadow", mode=0o400).symlink("s", "/shadow").hardlink("h", "s", mode=0o777, uid=9)
    root = image(tar)

    assert find(root, "h") is find(root, "s")
    assert find(root, "shadow").mode == 0o400
    assert find(root, "s").uid == 0


def test_a_hard_link_keeps_its_file_when_the_first_name_is_replaced() -> None:
    tar = Tar().file("a", b"old").hardlink("b", "a").file("a", b"newer")
    root = image(tar)

    assert (data(root, "a", tar), data(root, "b", tar)) == (b"newer", b"old")


@pytest.mark.parametrize("target", ["h", "./h", "/h", "s/h"])
def test_a_hard_link_to_itself_is_refused(target: str) -> None:
    with pytest.raises(InvalidError, match=r"entry 'h'.*to itself"):
        layer(Tar().symlink("s", ".").file("h").hardlink("h", target))


def test_a_hard_link_to_a_directory_is_refused() -> None:
    with pytest.raises(InvalidError, match="a hard link to a directory, 'd'"):
        layer(Tar().directory("d").hardlink("h", "d"))


def test_a_hard_link_below_a_file_is_refused() -> None:
    with pytest.raises(InvalidError, match="'f' is not a directory"):
        layer(Tar().file("f").hardlink("h", "f/x"))


@pytest.mark.parametrize("tar", [Tar().hardlink("h", "t"), Tar().hardlink("h", "t").file("t")])
def test_a_hard_link_to_what_is_not_there_yet_is_refused_when_nothing_is_below(tar: Tar) -> None:
    with pytest.raises(InvalidError, match="a hard link to 't', which is no file of this layer or of those below"):
        image(tar)


def test_more_names_of_one_file_than_a_file_system_has_are_refused() -> None:
    file, link = scan(Tar().file("t").hardlink("h", "t"))
    links = (link._replace(name=b"%d" % number) for number in range(65_000))

    with pytest.raises(InvalidError, match="more than 65000 names"):
        layer_tree([file, *links], 0)


# Kinds and attributes


def test_devices_and_pipes_are_kept() -> None:
    root = image(Tar().block("sda", 8, 0).char("null", 1, 3).fifo("pipe", mode=0o600))

    assert (find(root, "sda").kind, find(root, "sda").major) == (Kind.BLOCK, 8)
    assert (find(root, "null").kind, find(root, "null").minor) == (Kind.CHAR, 3)
    assert (find(root, "pipe").kind, find(root, "pipe").mode) == (Kind.FIFO, 0o600)


def test_the_device_that_overlayfs_takes_for_a_whiteout_is_refused() -> None:
    assert find(image(Tar().block("b", 0, 0)), "b").kind is Kind.BLOCK
    with pytest.raises(InvalidError, match="character device 0:0"):
        layer(Tar().char("a", 0, 0))


CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)


def test_extended_attributes_that_an_image_may_set_are_kept() -> None:
    kept = {"user.a": b"\0\xff\n=", "security.capability": CAPABILITY, "trusted.t": b""}
    root = image(Tar().file("f", xattrs=kept))

    assert find(root, "f").xattrs == tuple(sorted((name.encode(), value) for name, value in kept.items()))


@pytest.mark.parametrize(
    "name",
    [
        *(f"trusted.overlay.{what}" for what in ("opaque", "redirect", "metacopy", "origin", "upper", "impure")),
        *("user.overlay.opaque", "user.overlay.", "security.selinux", "security.ima", "security.evm"),
        *("system.nfs4_acl", "bogus.a", "USER.a", "user", ""),
    ],
)  # fmt: skip
def test_extended_attributes_that_an_image_may_not_set_are_dropped_and_told(name: str) -> None:
    tree = layer(Tar().directory("m", xattrs={name: "y", "user.kept": "k"}).file("f", xattrs={name: "/d"}))

    assert find(tree.root, "m").xattrs == ((b"user.kept", b"k"),)
    assert find(tree.root, "f").xattrs == ()
    assert tree.dropped == ((name, 2),)


def test_attributes_of_users_are_dropped_where_the_kernel_has_none() -> None:
    tree = layer(Tar().symlink("l", "t", xattrs={"user.a": "b"}).fifo("p", xattrs={"user.a": "b"}))

    assert (find(tree.root, "l").xattrs, find(tree.root, "p").xattrs) == ((), ())
    assert tree.dropped == (("user.a", 2),)


@pytest.mark.parametrize("keyword", ["LIBARCHIVE.xattr.user.a", "SCHILY.acl.access", "SCHILY.fflags", "comment"])
def test_other_ways_to_say_attributes_mean_nothing(keyword: str) -> None:
    tree = layer(Tar().file("f", pax={keyword: "schg"}))

    assert (find(tree.root, "f").xattrs, tree.dropped) == ((), ())


@pytest.mark.parametrize(
    ("xattrs", "what"),
    [
        ({"user.a": "v" * 70_000}, "user.a.*value has 70000 bytes"),
        ({"user." + "n" * 300: "v"}, "the name has 305 bytes"),
        ({"security.capability": "garbage"}, "security.capability.*not a file capability"),
        ({"system.posix_acl_access": "garbage"}, "system.posix_acl_access.*not an access control list"),
        ({f"user.{number}": "" for number in range(10_000)}, "10000 extended attributes"),
    ],
)
def test_extended_attributes_that_no_file_can_have_are_refused_by_name(xattrs: dict[str, str], what: str) -> None:
    with pytest.raises(InvalidError, match=f"entry 'f' at byte .*{what}"):
        layer(Tar().file("f", xattrs=xattrs))


def test_equal_attributes_are_one_object() -> None:
    root = image(Tar().file("a", xattrs={"user.a": "b"}).file("b", xattrs={"user.a": "b"}))

    assert find(root, "a").xattrs is find(root, "b").xattrs


def test_the_names_of_dropped_attributes_are_limited() -> None:
    tar = Tar()
    for number in range(1100):
        tar.file(str(number), xattrs={f"bogus.{number}": ""})

    dropped = dict(layer(tar).dropped)

    assert len(dropped) == 1025
    assert dropped["others"] == 76
