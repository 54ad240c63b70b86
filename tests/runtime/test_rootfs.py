"""Reading inside an image never reaches the host, never waits, and never reads much."""

import os
from pathlib import Path

import pytest

from prestow.errors import InvalidError, StorageError
from prestow.runtime.rootfs import DirectoryRoot, resolve

LIMIT = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("the host's")
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/file").write_text("the image's")
    return tmp_path / "root"


def test_a_file_is_read(root: Path) -> None:
    assert DirectoryRoot(root).read("/etc/file", LIMIT) == b"the image's"


@pytest.mark.parametrize("path", ["/none", "/none/file", "/etc/file/below"])
def test_what_is_not_there_is_none(root: Path, path: str) -> None:
    assert DirectoryRoot(root).read(path, LIMIT) is None
    assert DirectoryRoot(root).stat(path) is None
    assert DirectoryRoot(root).is_empty(path)


@pytest.mark.parametrize("target", ["/etc/file", "../etc/file", "../../../../etc/file", "/../etc/file", "again"])
def test_links_start_at_the_images_root(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    (root / "again").symlink_to("/etc/../etc/file")

    assert DirectoryRoot(root).read("/link", LIMIT) == b"the image's"


@pytest.mark.parametrize("form", ["../secret", "{host}/secret", "../../../../../../{host}/secret"])
def test_links_to_the_host_lead_nowhere(root: Path, form: str) -> None:
    (root / "link").symlink_to(form.format(host=root.parent))
    (root / "folder").symlink_to(root.parent)

    assert DirectoryRoot(root).read("/link", LIMIT) is None
    assert DirectoryRoot(root).read("/folder/secret", LIMIT) is None
    assert DirectoryRoot(root).read("/../secret", LIMIT) is None


def test_a_loop_is_refused(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")

    with pytest.raises(InvalidError, match="cannot be followed"):
        DirectoryRoot(root).read("/a", LIMIT)
    with pytest.raises(InvalidError, match="more than 40"):
        resolve(DirectoryRoot(root), "/a")


def test_a_fifo_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "fifo")

    with pytest.raises(InvalidError, match="not a regular file"):
        DirectoryRoot(root).read("/fifo", LIMIT)


def test_a_device_is_not_opened(root: Path) -> None:
    os.mknod(root / "zero", 0o020666, os.makedev(1, 5))

    with pytest.raises(InvalidError, match="not a regular file"):
        DirectoryRoot(root).read("/zero", LIMIT)


def test_a_directory_is_not_a_file(root: Path) -> None:
    with pytest.raises(InvalidError, match="not a regular file"):
        DirectoryRoot(root).read("/etc", LIMIT)


def test_a_huge_sparse_file_is_refused_by_its_size(root: Path) -> None:
    (root / "huge").touch()
    os.truncate(root / "huge", 100 << 30)

    with pytest.raises(InvalidError, match="at most 1048576"):
        DirectoryRoot(root).read("/huge", LIMIT)


def test_a_file_of_exactly_the_limit_is_read(root: Path) -> None:
    (root / "full").write_bytes(b"x" * LIMIT)

    data = DirectoryRoot(root).read("/full", LIMIT)

    assert data is not None
    assert len(data) == LIMIT


@pytest.mark.parametrize("path", ["/a\0b", "/" + "a" * 300, "/a" * 4000])
def test_what_is_no_path_is_refused(root: Path, path: str) -> None:
    with pytest.raises(InvalidError):
        DirectoryRoot(root).read(path, LIMIT)


def test_stat_does_not_follow_the_last_link_but_follows_those_before(root: Path) -> None:
    (root / "folder").symlink_to("/etc")
    (root / "etc/link").symlink_to("file")
    os.chown(root / "etc/file", 12, 34)

    link = DirectoryRoot(root).stat("/folder/link")
    file = DirectoryRoot(root).stat("/folder/file")

    assert link is not None
    assert link.target == "file"
    assert not link.is_directory
    assert file is not None
    assert (file.uid, file.gid) == (12, 34)


def test_the_root_itself_is_a_directory(root: Path) -> None:
    found = DirectoryRoot(root).stat("/")

    assert found is not None
    assert found.is_directory
    assert not DirectoryRoot(root).is_empty("/")


def test_an_empty_directory_is_empty(root: Path) -> None:
    (root / "empty").mkdir()

    assert DirectoryRoot(root).is_empty("/empty")
    assert not DirectoryRoot(root).is_empty("/etc")


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        DirectoryRoot(tmp_path / "file/none").stat("/etc")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/file", "/etc/file"),
        ("/", "/"),
        ("/../..", "/"),
        ("/link/x", "/proc/self/fd/7/x"),
        ("/chain/y", "/proc/self/fd/7/y"),
        ("/up/../etc", "/etc"),
        ("/missing/../etc", "/etc"),
        ("//etc/./file", "/etc/file"),
    ],
)
def test_resolve_follows_links_even_where_nothing_is(root: Path, path: str, expected: str) -> None:
    (root / "link").symlink_to("/proc/self/fd/7")
    (root / "chain").symlink_to("etc/../link")
    (root / "up").symlink_to("../../../etc")

    assert resolve(DirectoryRoot(root), path) == expected
