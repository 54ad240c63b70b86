"""What happens to files at rest, and that ``verify`` names it: the laws of ``snapshotter.SUITE`` about damage."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from prestow.digest import Digest
from tests.conformance.bench import Bench
from tests.tar_builder import Tar

FILE = "d/file"
Change = Callable[[Path], object]


def tar(name: str) -> Tar:
    """Return a layer with something of everything, and ``name`` in it."""
    own = {"mode": 0o640, "uid": 7, "gid": 8}
    layer = Tar().directory("d", mode=0o750, mtime=5).file("alone", name.encode() * 9)
    layer.file(FILE, b"content of a file", xattrs={"user.a": "b"}, **own).hardlink("d/again", FILE, **own)
    layer.file("d/other", b"content of a file").symlink("link", "d/file")
    return layer.char("null", 1, 3).fifo("pipe")


def flip(path: Path) -> None:
    """Change the last byte; the times stay what they were."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(path: Path) -> None:
    """Take the last byte away."""
    os.truncate(path, path.stat().st_size - 1)


def replaced(make: Change) -> Change:
    """Put something else in the place of a file or folder."""

    def change(path: Path) -> None:
        (shutil.rmtree if path.is_dir() else os.unlink)(path)
        make(path)

    return change


def linked_elsewhere(path: Path) -> None:
    """Make two files of one content two names of one."""
    path.unlink()
    path.hardlink_to(path.with_name("file"))


def linked_no_more(path: Path) -> None:
    """Make a name of a file a file of its own."""
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


ON_ANY_FILE: Mapping[str, tuple[Change, str]] = {
    "flipped": (flip, "first at byte"),
    "cut": (lambda path: os.truncate(path, 3), "3 bytes, expected"),
    "longer": (lambda path: os.truncate(path, 1 << 20), "1048576 bytes, expected"),
    "removed": (os.unlink, "missing"),
    "a link": (replaced(lambda path: path.symlink_to("/etc/passwd")), "symbolic link"),
    "a pipe": (replaced(os.mkfifo), "pipe"),
    "a folder": (replaced(Path.mkdir), "directory"),
}
"""What happens to a file, and a word of how it is told; the erofs driver says of the last three that it is no file."""

IN_FOLDERS: Mapping[str, tuple[str, Change, str, str]] = {
    "mode": (FILE, lambda path: path.chmod(0o644), FILE, "mode 0644, expected 0640"),
    "owner": (FILE, lambda path: os.chown(path, 1, 8), FILE, "owner 1:8, expected 7:8"),
    "owner of a link": ("link", lambda path: os.chown(path, 1, 0, follow_symlinks=False), "link", "owner 1:0"),
    "time": (FILE, lambda path: os.utime(path, ns=(1, 1)), FILE, "modified at 1 ns"),
    "attribute": (FILE, lambda path: os.setxattr(path, "user.a", b"c"), FILE, "'user.a' has another value"),
    "attribute gone": (FILE, lambda path: os.removexattr(path, "user.a"), FILE, "'user.a' is missing"),
    "attribute more": (FILE, lambda path: os.setxattr(path, "user.b", b""), FILE, "'user.b' is not in the image"),
    "target": ("link", replaced(lambda path: path.symlink_to("d/other")), "link", "expected 'd/file'"),
    "device": ("null", replaced(lambda path: os.mknod(path, 0o20644, os.makedev(1, 5))), "null", "device 1:5"),
    "device removed": ("null", os.unlink, "null", "missing"),
    "pipe a file": ("pipe", replaced(Path.touch), "pipe", "a file, expected a pipe"),
    "addition": ("d", lambda path: (path / "new\n").touch(), r"d/new\n", "not in the image"),
    "folder removed": ("d", shutil.rmtree, "d", "missing"),
    "folder a link": ("d", replaced(lambda path: path.symlink_to("/")), "d", "a symbolic link, expected a directory"),
    "folder's mode": ("d", lambda path: path.chmod(0o700), "d", "mode 0700, expected 0750"),
    "top": ("", lambda path: path.chmod(0o711), "", "mode 0711"),
    "joined": ("d/other", linked_elsewhere, "d/other", "no longer the same|the same file as another name"),
    "parted": (FILE, linked_no_more, FILE, "no longer the same file as its other names"),
}
"""Where, what, which path is named, and how."""


def what_nobody_touched_has_no_damage(bench: Bench) -> None:
    image = bench.committed(tar("lower"), Tar().whiteout("d/other").file("new", b"n"))
    with bench.mounted(bench.snapshotter.prepare("key", image.chain_id)) as target:
        (target / FILE).write_text("a container may")
    lower = bench.snapshotter.prepare("lower", image.layers[0].chain_id)
    read = 0

    def progress(count: int) -> None:
        nonlocal read
        read += count

    assert bench.files(lower)[FILE] == "content of a file"
    assert list(bench.open().verify(image.chain_id, progress=progress)) == []
    assert read > 0


def every_damage_is_named(bench: Bench) -> None:
    erofs = bench.snapshotter.driver == "erofs"
    for name, (change, told) in ON_ANY_FILE.items():
        victim, chain_id = _committed(bench, name)
        file = victim if erofs else victim / "alone"
        change(file)

        found = {damage.name: damage.what for damage in bench.open().verify(chain_id)}
        assert found.keys() - {str(victim)} == (set() if erofs else {str(file)}), found  # a folder's time tells too
        assert told in found[str(file)] or (erofs and found[str(file)] == "not a file"), found


def every_change_in_a_folder_is_named(bench: Bench) -> None:
    if bench.snapshotter.driver == "erofs":
        return  # it has none
    for name, (where, change, named, told) in IN_FOLDERS.items():
        folder, chain_id = _committed(bench, name)
        change(folder / where)

        found = {damage.name: damage.what for damage in bench.open().verify(chain_id)}
        expected = os.path.join(folder, named).rstrip("/")  # noqa: PTH118 - what is named need not be a path
        assert any(word in found.get(expected, f"{name}: {found}") for word in told.split("|")), found


def damage_below_is_named_too(bench: Bench) -> None:
    image = bench.committed(tar("lower"), Tar().file("new", b"n"))
    below = image.layers[0].chain_id
    bench.snapshotter.prepare("key", below)
    victim = _place(bench, below)
    flip(victim if victim.is_file() else victim / FILE)

    assert [damage.name.startswith(str(victim)) for damage in bench.open().verify(image.chain_id)] == [True]


def what_is_damaged_is_made_anew(bench: Bench) -> None:
    erofs = bench.snapshotter.driver == "erofs"
    for name, (change, _) in ON_ANY_FILE.items():
        victim, chain_id = _committed(bench, f"{name} anew")
        change(victim if erofs else victim / "alone")
        moved = _Moved(bench.home / f"aside {name}")

        assert bench.open().renew(chain_id, moved) == [chain_id]
        assert moved.paths == ([] if erofs and name == "removed" else [victim if erofs else victim.parent])
        assert list(bench.open().verify(chain_id)) == []
        assert bench.open().renew(chain_id, moved) == []


def who_looks_at_what_is_made_anew_keeps_what_he_has(bench: Bench) -> None:
    image = bench.committed(tar("lower"), Tar().file("new", b"n"))
    victim = _place(bench, image.chain_id)
    with bench.mounted(bench.snapshotter.prepare("old", image.chain_id)) as old:
        flip(victim if victim.is_file() else victim / "new")
        bench.open().renew(image.chain_id, _Moved(bench.home / "aside"))

        assert (old / FILE).read_text() == "content of a file"
        assert bench.unlike(bench.open().view("key", image.chain_id), tar("lower"), Tar().file("new", b"n")) == []


class _Moved:
    """Takes files out of the way, and remembers where they were."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.paths: list[Path] = []

    def __call__(self, path: Path, why: str) -> None:
        assert why
        self.paths.append(path)
        path.rename(self.folder / path.name)


def _committed(bench: Bench, name: str) -> tuple[Path, Digest]:
    """Commit an image of its own for a case, and give where its file or folder is."""
    chain_id = bench.committed(tar(name)).chain_id
    return _place(bench, chain_id), chain_id


def _place(bench: Bench, chain_id: Digest) -> Path:
    info = bench.snapshotter.stat(chain_id)
    image = bench.folder / f"{chain_id.encoded}.erofs"
    return image if bench.snapshotter.driver == "erofs" else bench.folder / str(info.id) / "fs"


LAWS: tuple[Callable[[Bench], None], ...] = (
    what_nobody_touched_has_no_damage,
    every_damage_is_named,
    every_change_in_a_folder_is_named,
    damage_below_is_named_too,
    what_is_damaged_is_made_anew,
    who_looks_at_what_is_made_anew_keeps_what_he_has,
)
