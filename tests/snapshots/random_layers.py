"""Random layers, small and full of collisions: everything that a layer can do to those below it."""

from dataclasses import dataclass, field

from hypothesis import strategies as st

from prestow.errors import InvalidError
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import walk
from tests.layers.model import image, scan
from tests.tar_builder import Tar

_NAMES = st.sampled_from(["a", "b", "c", "d"])
_MODES = st.sampled_from([0, 0o600, 0o755, 0o1777, 0o4755])
_IDS = st.sampled_from([0, 1, 1000, 4294967294])
_TIMES = st.sampled_from([0, 1, 1_700_000_000])
_TARGETS = st.sampled_from(["a", "/b", "../c", "a/b", "/", "new/d"])
_XATTRS = st.sampled_from([{}, {}, {}, {"user.a": "b"}, {"trusted.x": "y", "user.c": ""}])


@dataclass
class _Folder:
    """What a layer says of one folder.

    Attributes:
        own: whether it has an entry of its own.
        opaque: whether it hides what the layers below have in it.
        whiteouts: names that it removes.
        children: what it brings.
    """

    own: bool
    opaque: bool
    whiteouts: set[str]
    fields: dict[str, int]
    children: "dict[str, _Folder | _Leaf]" = field(default_factory=dict)


@dataclass
class _Leaf:
    kind: str
    content: bytes
    fields: dict[str, int]
    xattrs: dict[str, str]


_fields = st.fixed_dictionaries({"mode": _MODES, "uid": _IDS, "gid": _IDS, "mtime": _TIMES})
_leaves = st.builds(
    _Leaf,
    kind=st.sampled_from(["file", "file", "file", "symlink", "fifo", "char"]),
    content=st.sampled_from([b"", b"x", b"content" * 100, bytes(5000)]),
    fields=_fields,
    xattrs=_XATTRS,
)


def _folders(inner: "st.SearchStrategy[_Folder | _Leaf]") -> st.SearchStrategy[_Folder]:
    return st.builds(
        _Folder,
        own=st.booleans(),
        opaque=st.sampled_from([False, False, False, True]),
        whiteouts=st.sets(_NAMES, max_size=2),
        fields=_fields,
        children=st.dictionaries(_NAMES, inner, max_size=3),
    )


_layers = _folders(st.recursive(_leaves, lambda inner: st.one_of(_leaves, _folders(inner)), max_leaves=6))


class RandomImage(list[bytes]):
    """The tars of an image, lowest first."""

    def __repr__(self) -> str:
        """Show the members, for hypothesis to tell."""
        return repr(
            [[(e.name, e.kind.name, e.mode, e.mtime_ns, e.size, e.link, e.xattrs) for e in scan(t)] for t in self]
        )


@st.composite
def random_layers(draw: st.DrawFn) -> RandomImage:
    """Return an image with hard links to files of layers below, and names that lead through symlinks of its layer."""
    tars = RandomImage()
    for folder in draw(st.lists(_layers, min_size=1, max_size=4)):
        tar = Tar()
        _write(tar, "", folder)
        plain = tar.to_bytes()
        places = ["", *_paths(folder)]
        for number, (place, target) in enumerate(
            draw(st.lists(st.tuples(st.sampled_from(places), _TARGETS), max_size=2))
        ):
            link = f"{place}via{number}"
            tar.symlink(link, target).file(f"{link}/x", b"through").whiteout(f"{link}/b")
        if files := _files(tars):
            names = [f"{place}link{number}" for number, place in enumerate(places)]
            links = st.lists(st.tuples(st.sampled_from(names), st.sampled_from(files)), max_size=2)
            for place, target in draw(links):
                tar.hardlink(place, target)
        tars.append(tar.to_bytes() if _fits(tars, tar.to_bytes()) else plain)
    return tars


def _files(tars: list[bytes]) -> list[str]:
    return [path.decode() for path, inode in walk(image(*tars)) if inode.kind is Kind.REGULAR] if tars else []


def _fits(tars: list[bytes], tar: bytes) -> bool:
    """Whether links find their targets, and names lead through folders: not if the layer has a file on the way."""
    try:
        image(*tars, tar)
    except InvalidError:
        return False
    return True


def _paths(folder: _Folder, prefix: str = "") -> list[str]:
    found = []
    for name, child in folder.children.items():
        if isinstance(child, _Folder):
            found += [f"{prefix}{name}/", *_paths(child, f"{prefix}{name}/")]
    return found


def _write(tar: Tar, prefix: str, folder: _Folder) -> None:
    if folder.own:
        tar.directory(prefix or ".", **folder.fields)
    for name in sorted(folder.whiteouts):
        tar.whiteout(f"{prefix}{name}")
    for name, child in folder.children.items():
        if isinstance(child, _Folder):
            _write(tar, f"{prefix}{name}/", child)
        else:
            _write_leaf(tar, f"{prefix}{name}", child)
    if folder.opaque:
        tar.file(f"{prefix}.wh..wh..opq")


def _write_leaf(tar: Tar, path: str, leaf: _Leaf) -> None:
    if leaf.kind == "file":
        tar.file(path, leaf.content, xattrs=leaf.xattrs, **leaf.fields)
    elif leaf.kind == "symlink":
        tar.symlink(path, "a/b", **leaf.fields | {"mode": 0o777})
    elif leaf.kind == "fifo":
        tar.fifo(path, **leaf.fields)
    else:
        tar.char(path, 1, 3, **leaf.fields)
