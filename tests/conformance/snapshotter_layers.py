"""Images and what a snapshotter shows of them: the laws of ``snapshotter.SUITE`` that are about layers."""

from collections.abc import Callable

from hypothesis import given, settings

from tests.conformance.bench import Bench
from tests.snapshots.random_layers import random_layers
from tests.tar_builder import Tar

BASE = Tar().directory("d", mtime=5).file("d/a", b"a").file("d/b", b"b").file("c", b"c", mode=0o4755, uid=7, gid=8)
CHANGE = Tar().file("d/a", b"A").whiteout("c").file("e", b"e")


def an_image_is_shown_as_its_layers_say(bench: Bench) -> None:
    image = bench.committed(BASE, CHANGE)

    assert bench.unlike(bench.snapshotter.prepare("active", image.chain_id), BASE, CHANGE) == []
    assert bench.unlike(bench.snapshotter.view("view", image.chain_id), BASE, CHANGE) == []


def any_layers_are_shown_as_the_model_says(bench: Bench) -> None:
    @settings(deadline=None, max_examples=6)
    @given(random_layers())
    def check(tars: list[bytes]) -> None:
        image = bench.committed(*tars)
        assert list(bench.open().verify(image.chain_id)) == []
        for index, make in enumerate((bench.snapshotter.view, bench.snapshotter.prepare)):
            try:
                assert bench.unlike(make(f"key-{index}", image.chain_id), *tars) == []
            finally:
                bench.snapshotter.remove(f"key-{index}")

    check()


HARD = {
    "an opaque root hides everything below": (Tar().file("a", b"1"), Tar().file(".wh..wh..opq").file("b", b"2")),
    "a folder removed and made again is new": (
        Tar().directory("d").file("d/old").file("d/both", b"old"),
        Tar().whiteout("d").directory("d", mode=0o700).file("d/both", b"new").file("d/new"),
    ),
    "a whiteout of nothing leaves no ghost": (Tar().file("x"), Tar().directory("nd").whiteout("nd/ghost")),
    "a whiteout in an opaque folder leaves no ghost": (
        Tar().directory("d").file("d/a"),
        Tar().directory("d").file("d/.wh..wh..opq").whiteout("d/a").file("d/b"),
    ),
    "a new name of a lower file is the same file": (Tar().file("d/a", b"1"), Tar().hardlink("b", "d/a")),
    "a lost name leaves the others": (Tar().file("a", b"1").hardlink("b", "a"), Tar().whiteout("a")),
    "types change": (Tar().directory("x").file("x/y").file("z"), Tar().file("x", b"f").directory("z").file("z/f")),
    "what was a file above a folder stays apart": (
        Tar().directory("x").file("x/old"),
        Tar().file("x", b"file"),
        Tar().directory("x").file("x/new"),
    ),
    "folders without entries take what is below": (
        Tar().directory("p", mode=0o711, uid=3, mtime=9, xattrs={"user.a": "b"}).file("p/a"),
        Tar().file("p/q/r"),
    ),
    "the root has attributes": (Tar().directory(".", mode=0o751, uid=4, gid=5, mtime=6, xattrs={"trusted.x": "y"}),),
    "a layer may be empty": (Tar().file("a"), b"", Tar(), Tar().file("b")),
    "a layer may come twice": (Tar().file("a", b"1"), Tar().file("a", b"2").file("b", b"3"), Tar().file("a", b"1")),
    "names are bytes": (Tar().file(b"\xff\n\x1b", b"1").file("a:b,c\\d", b"2").directory(b"..."),),
}


def what_is_hard_comes_out_right(bench: Bench) -> None:
    for sentence, tars in HARD.items():
        image = bench.committed(*tars)
        key = sentence.replace(" ", "-")

        assert (sentence, list(bench.open().verify(image.chain_id))) == (sentence, [])
        assert (sentence, bench.unlike(bench.snapshotter.prepare(key, image.chain_id), *tars)) == (sentence, [])


def many_layers_are_stacked(bench: Bench) -> None:
    tars = [
        Tar().file(f"f{n}", str(n).encode()).whiteout(f"f{n - 1}").file("last", str(n).encode()) for n in range(130)
    ]
    image = bench.committed(*tars)

    assert bench.files(bench.snapshotter.prepare("key", image.chain_id)) == {"f129": "129", "last": "129"}


LAWS: tuple[Callable[[Bench], None], ...] = (
    an_image_is_shown_as_its_layers_say,
    any_layers_are_shown_as_the_model_says,
    what_is_hard_comes_out_right,
    many_layers_are_stacked,
)
