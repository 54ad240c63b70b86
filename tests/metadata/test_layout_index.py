"""``index.json`` with some names changed is what it would be if all were written anew; and it may be long."""

from pathlib import Path
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.digest import Digest
from prestow.metadata.layout_index import Key, Named, change_index, read_index, write_index
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor

Labels: TypeAlias = dict[str, str]

KEYS = st.tuples(st.sampled_from(["default", "team"]), st.text(st.characters(codec="utf-8"), min_size=1, max_size=3))
LABELS = st.dictionaries(st.text(st.sampled_from('a,\n"\\é]}'), min_size=1), st.text(max_size=5000), max_size=2)
NAMES = st.dictionaries(KEYS, LABELS, max_size=12)
CHANGES = st.dictionaries(KEYS, st.none() | LABELS, max_size=6)


def named(key: Key, labels: Labels) -> Named:
    target = Descriptor(mediatypes.OCI_MANIFEST, Digest.of(repr(key).encode()), 1)
    return Named(key[1], target, key[0], labels, 1.5, 2.5)


@settings(max_examples=150, deadline=None)
@given(NAMES, CHANGES, st.data())
def test_changing_some_names_is_writing_all(
    tmp_path_factory: object,
    names: dict[Key, dict[str, str]],
    changes: dict[Key, dict[str, str] | None],
    data: st.DataObject,
) -> None:
    folder = Path(tmp_path_factory.mktemp("index"))  # type: ignore[attr-defined]
    gone = data.draw(st.sets(st.sampled_from(sorted(names)))) if names else set()
    changes |= dict.fromkeys(gone)
    write_index(folder, [named(*each) for each in names.items()], durable=False)
    found = {key: None if labels is None else named(key, labels) for key, labels in changes.items()}

    change_index(folder, found, durable=False)

    changed = (folder / "index.json").read_bytes()
    (folder / "index.json").unlink()
    left = {**{key: named(key, labels) for key, labels in names.items()}, **found}
    write_index(folder, [image for image in left.values() if image is not None], durable=False)
    assert changed == (folder / "index.json").read_bytes()


def test_more_names_than_an_image_index_may_have_are_read(tmp_path: Path) -> None:
    names = [named(("default", f"localhost/{number:05d}:1"), {}) for number in range(15_000)]
    write_index(tmp_path, names, durable=False)

    assert (tmp_path / "index.json").stat().st_size > 4 << 20
    assert read_index(tmp_path) == names
