"""Laws of layers: merging them one by one is merging what they compose to, and the like, for any layers."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import InvalidError
from prestow.layers.tar.entry import Entry, Extent, Kind
from prestow.layers.tree import Inode, compose, layer_tree, merge, walk
from tests.layers.model import seen

NAMES = (b"a", b"b", b"c")
_paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)
_KINDS = (Kind.REGULAR, Kind.REGULAR, Kind.DIRECTORY, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK, Kind.FIFO)


@st.composite
def _entries(draw: st.DrawFn) -> Entry:
    path = draw(_paths)
    number = draw(st.integers(0, 2**16))
    mark = draw(st.integers(0, 9))
    if mark == 0:
        return _entry(path + b"/.wh..wh..opq", Kind.REGULAR, number)
    if mark <= 2:
        folder, slash, base = path.rpartition(b"/")
        return _entry(folder + slash + b".wh." + base, Kind.REGULAR, number)
    kind = draw(st.sampled_from(_KINDS))
    link = draw(st.sampled_from([draw(_paths), b"/", b"..", b"../a"])) if kind is Kind.SYMLINK else b""
    return _entry(path, kind, number, draw(_paths) if kind is Kind.HARDLINK else link)


def _entry(name: bytes, kind: Kind, number: int, link: bytes = b"") -> Entry:
    size = number % 3 if kind is Kind.REGULAR else 0
    extents = (Extent(0, number * 512, size),) if size else ()
    return Entry(name, kind, number & 0o7777, number, 7, number, size, link, 0, 0, (), extents, number)


@st.composite
def _layers(draw: st.DrawFn) -> list[Entry]:
    """A layer that makes sense by itself: entries that do not are left out."""
    kept: list[Entry] = []
    for entry in draw(st.lists(_entries(), max_size=8)):
        try:
            layer_tree([*kept, entry], 0)
        except InvalidError:
            continue
        kept.append(entry)
    return kept


def _outcome(make: Callable[[], Inode]) -> object:
    try:
        return seen(make())
    except InvalidError:
        return InvalidError


@settings(deadline=None, max_examples=80)
@given(_layers(), _layers(), _layers())
def test_merging_one_by_one_is_merging_the_composition(x: list[Entry], y: list[Entry], z: list[Entry]) -> None:
    first, second, third = layer_tree(x, 0), layer_tree(y, 1), layer_tree(z, 2)

    one_by_one = _outcome(lambda: merge(merge(merge(None, first), second), third))

    if one_by_one is not InvalidError:  # else a layer links to nothing, which a later one may hide
        assert one_by_one == _outcome(lambda: merge(merge(None, first), compose(second, third)))
        assert one_by_one == _outcome(lambda: merge(None, compose(compose(first, second), third)))
        assert one_by_one == _outcome(lambda: merge(None, compose(first, compose(second, third))))


@settings(deadline=None, max_examples=80)
@given(_layers(), _layers())
def test_the_empty_layer_changes_nothing(x: list[Entry], y: list[Entry]) -> None:
    empty, first, second = layer_tree([], 0), layer_tree(x, 0), layer_tree(y, 1)

    alone = _outcome(lambda: merge(merge(None, first), second))

    assert alone == _outcome(lambda: merge(merge(merge(None, first), empty), second))
    assert alone == _outcome(lambda: merge(merge(None, first), compose(empty, second)))
    assert alone == _outcome(lambda: merge(merge(None, first), compose(second, empty)))


@settings(deadline=None, max_examples=80)
@given(_layers(), _layers())
def test_nothing_that_goes_in_is_changed(x: list[Entry], y: list[Entry]) -> None:
    first, second = layer_tree(x, 0), layer_tree(y, 1)
    before = seen(first.root), seen(second.root)

    _outcome(lambda: merge(merge(None, first), second))
    _outcome(lambda: merge(None, compose(first, second)))

    assert (seen(first.root), seen(second.root)) == before


@settings(deadline=None, max_examples=80)
@given(_layers(), _layers())
def test_the_same_layer_again_changes_nothing_but_who_holds_its_files(x: list[Entry], y: list[Entry]) -> None:
    def twice() -> Inode:
        return merge(once(), layer_tree(y, 0))

    def once() -> Inode:
        return merge(merge(None, layer_tree(x, 0)), layer_tree(y, 0))

    if any(inode.kind is Kind.HARDLINK for _, inode in walk(layer_tree(y, 0).root)):
        return  # it names a file of the layers below, which the first time may have replaced
    assert _outcome(twice) == _outcome(once)


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_where_the_marks_stand_in_a_layer_does_not_matter(data: st.DataObject) -> None:
    plain = (Kind.REGULAR, Kind.DIRECTORY)
    everything = st.lists(_entries().filter(lambda entry: entry.kind in plain), max_size=8)
    entries = data.draw(everything)
    lower = layer_tree(data.draw(_layers()), 0)

    marks = [entry for entry in entries if b".wh." in entry.name]
    others = [entry for entry in entries if b".wh." not in entry.name]
    orders = (marks + others, others + marks)
    outcomes = [_outcome(lambda order=order: merge(merge(None, lower), layer_tree(order, 1))) for order in orders]

    assert InvalidError in outcomes or outcomes[0] == outcomes[1]
