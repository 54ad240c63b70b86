"""What every snapshotter must do: ``SUITE``, functions of one argument, for ``pytest.mark.parametrize``.

    @pytest.mark.parametrize("law", snapshotter.SUITE, ids=snapshotter.name)
    def test_native_keeps(law, mounting):
        with Bench(mounting / "store", NativeSnapshotter) as bench:
            law(bench)

The argument is a store of its own; what is mounted on it is taken down by the caller.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.errors import (
    AlreadyExistsError,
    InvalidError,
    NotFoundError,
    PreconditionError,
)
from prestow.metadata.leases import Leases
from prestow.snapshots.commit import commit_snapshots
from prestow.snapshots.create import create_snapshot
from prestow.snapshots.mounts.mount import mount_all, unmount
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.snapshots.snapshotter import Kind
from tests.conformance import snapshotter_damage
from tests.conformance.bench import Bench, in_processes
from tests.conformance.snapshotter_layers import BASE, CHANGE, LAWS
from tests.tar_builder import Tar


def name(law: Callable[[Bench], None]) -> str:
    """Return a law's sentence."""
    return law.__name__


def every_chain_is_committed_on_its_parent(bench: Bench) -> None:
    image = bench.committed(BASE, CHANGE, Tar())
    first, second, third = (layer.chain_id for layer in image.layers)

    rows = list(bench.snapshotter.walk())
    assert [(row.key, row.parent) for row in rows] == [(first, None), (second, first), (third, second)]
    assert {(row.driver, row.kind) for row in rows} == {(bench.snapshotter.driver, Kind.COMMITTED)}
    assert [row.diff_id for row in rows] == [layer.diff_id for layer in image.layers]
    assert bench.snapshotter.stat(second) == rows[1]
    assert bench.snapshotter.committed(third)


def committing_again_changes_nothing(bench: Bench) -> None:
    image = bench.committed(BASE, CHANGE)
    before = {path: path.stat().st_mtime_ns for path in bench.folder.rglob("*")}

    result = commit_snapshots(bench.open(), image)

    assert result.chain_id == image.chain_id
    assert {path: path.stat().st_mtime_ns for path in bench.folder.rglob("*")} == before


def images_share_what_they_have_in_common(bench: Bench) -> None:
    first = bench.committed(BASE, CHANGE)
    second = bench.committed(BASE, Tar().file("other", b"o"))

    assert first.layers[0].chain_id == second.layers[0].chain_id
    assert len(list(bench.snapshotter.walk())) == 3
    assert bench.files(bench.snapshotter.view("view", second.chain_id)) == {
        "d/a": "a",
        "d/b": "b",
        "c": "c",
        "other": "o",
    }
    assert bench.unlike(bench.snapshotter.view("first", first.chain_id), BASE, CHANGE) == []


def a_lower_chain_can_be_a_parent(bench: Bench) -> None:
    image = bench.committed(BASE, CHANGE)

    assert bench.unlike(bench.snapshotter.prepare("key", image.layers[0].chain_id), BASE) == []
    assert bench.snapshotter.committed(image.layers[0].chain_id)


def a_layer_that_is_not_there_is_named(bench: Bench) -> None:
    image = bench.image(BASE, CHANGE)
    bench.content.delete(image.layers[1].diff_id)

    with pytest.raises(PreconditionError, match=image.layers[1].diff_id.short):
        bench.snapshotter.commit_layers(image)

    assert list(bench.snapshotter.walk()) == []
    assert bench.left_on_disk() == set()


def layers_that_make_no_tree_leave_nothing_behind(bench: Bench) -> None:
    with pytest.raises(InvalidError):
        bench.committed(BASE, Tar().hardlink("x", "nowhere"))

    assert list(bench.snapshotter.walk()) == []
    assert bench.left_on_disk() == set()


def files_that_are_gone_are_made_again(bench: Bench) -> None:
    image = bench.committed(BASE, CHANGE)
    for path in list(bench.folder.iterdir()):
        path.rename(bench.home / path.name)

    assert not bench.snapshotter.committed(image.chain_id)
    bench.snapshotter.commit_layers(image)

    assert bench.snapshotter.committed(image.chain_id)
    assert bench.unlike(bench.snapshotter.view("key", image.chain_id), BASE, CHANGE) == []


def unknown_chains_are_not_committed(bench: Bench) -> None:
    assert not bench.snapshotter.committed(Digest.of(b"nothing"))


def without_a_parent_a_snapshot_is_empty(bench: Bench) -> None:
    with bench.mounted(bench.snapshotter.prepare("active", None)) as target:
        assert list(target.iterdir()) == []
        assert stat.S_IMODE(target.stat().st_mode) == 0o755
        (target / "file").write_text("written")
    assert bench.files(bench.snapshotter.mounts("active")) == {"file": "written"}
    assert bench.files(bench.snapshotter.view("view", None)) == {}


def what_is_written_is_kept_and_seen_by_nobody_else(bench: Bench) -> None:
    image = bench.committed(BASE)
    with bench.mounted(bench.snapshotter.prepare("one", image.chain_id)) as target:
        (target / "d" / "a").unlink()
        (target / "c").write_text("changed")

    assert bench.files(bench.snapshotter.mounts("one")) == {"d/b": "b", "c": "changed"}
    assert bench.unlike(bench.snapshotter.prepare("two", image.chain_id), BASE) == []
    assert bench.unlike(bench.snapshotter.view("view", image.chain_id), BASE) == []


def views_cannot_be_written(bench: Bench) -> None:
    image = bench.committed(BASE, CHANGE)
    with (
        bench.mounted(bench.snapshotter.view("view", image.chain_id)) as target,
        pytest.raises(OSError, match="Read-only"),
    ):
        (target / "new").touch()


def keys_and_parents_are_checked(bench: Bench) -> None:
    image = bench.committed(BASE)
    bench.snapshotter.prepare("key", image.chain_id)
    for make in (bench.snapshotter.prepare, bench.snapshotter.view):
        with pytest.raises(AlreadyExistsError, match="key"):
            make("key", image.chain_id)
        with pytest.raises(NotFoundError, match="nothing"):
            make("other", "nothing")
        with pytest.raises(PreconditionError, match="active"):
            make("other", "key")
        for wrong in ("", "a b", "a\nb", "ü", "x" * 256, image.chain_id):
            with pytest.raises(InvalidError):
                make(wrong, image.chain_id)

    assert {row.key for row in bench.snapshotter.walk()} == {"key", image.chain_id}


def only_active_snapshots_and_views_have_mounts(bench: Bench) -> None:
    image = bench.committed(BASE)

    with pytest.raises(PreconditionError, match="committed"):
        bench.snapshotter.mounts(image.chain_id)
    with pytest.raises(NotFoundError, match="nothing"):
        bench.snapshotter.mounts("nothing")
    assert bench.snapshotter.prepare("key", image.chain_id) == bench.open().mounts("key")


def what_was_written_can_be_committed_and_built_upon(bench: Bench) -> None:
    image = bench.committed(BASE)
    parent = str(image.chain_id)
    for step in range(3):
        with bench.mounted(bench.snapshotter.prepare("work", parent)) as target:
            (target / f"step{step}").write_text(str(step))
            (target / "c").write_text(f"changed {step}")
            (target / "d" / "a").unlink(missing_ok=True)
        parent = f"built-{step}"
        bench.snapshotter.commit(parent, "work")

    info = bench.snapshotter.stat(parent)
    assert (info.kind, info.parent, info.diff_id) == (Kind.COMMITTED, "built-1", None)
    with pytest.raises(NotFoundError):
        bench.snapshotter.stat("work")
    expected = {"d/b": "b", "c": "changed 2", "step0": "0", "step1": "1", "step2": "2"}
    assert bench.files(bench.snapshotter.view("view", parent)) == expected
    with bench.mounted(bench.snapshotter.prepare("more", parent)) as target:
        (target / "step0").unlink()
    assert bench.files(bench.snapshotter.view("again", parent)) == expected
    assert "step0" not in bench.files(bench.snapshotter.mounts("more"))


def what_has_no_parent_can_be_committed_too(bench: Bench) -> None:
    with bench.mounted(bench.snapshotter.prepare("work", None)) as target:
        (target / "file").write_text("from scratch")
        target.chmod(0o711)
    bench.snapshotter.commit("scratch", "work")

    with bench.mounted(bench.snapshotter.prepare("key", "scratch")) as target:
        assert (target / "file").read_text() == "from scratch"
        assert stat.S_IMODE(target.stat().st_mode) == 0o711


def only_what_is_active_and_not_mounted_is_committed(bench: Bench) -> None:
    image = bench.committed(BASE)
    bench.snapshotter.view("view", image.chain_id)
    bench.snapshotter.prepare("taken", image.chain_id)

    with pytest.raises(NotFoundError):
        bench.snapshotter.commit("name", "nothing")
    with pytest.raises(PreconditionError, match="view"):
        bench.snapshotter.commit("name", "view")
    with pytest.raises(PreconditionError, match="committed"):
        bench.snapshotter.commit("name", image.chain_id)
    with (
        bench.mounted(bench.snapshotter.prepare("key", image.chain_id)),
        pytest.raises(PreconditionError, match="mounted"),
    ):
        bench.snapshotter.commit("name", "key")
    with pytest.raises(AlreadyExistsError, match="taken"):
        bench.snapshotter.commit("taken", "key")
    with pytest.raises(InvalidError):
        bench.snapshotter.commit(Digest.of(b""), "key")


def removing_goes_from_children_to_parents_and_leaves_nothing(bench: Bench) -> None:
    image = bench.committed(BASE, CHANGE)
    lower, top = (layer.chain_id for layer in image.layers)
    bench.files(bench.snapshotter.prepare("key", top))

    for parent in (lower, top):
        with pytest.raises(PreconditionError, match="parent"):
            bench.snapshotter.remove(parent)
    assert bench.unlike(bench.snapshotter.mounts("key"), BASE, CHANGE) == []
    for key in ("key", top, lower):
        bench.snapshotter.remove(key)

    assert list(bench.snapshotter.walk()) == []
    assert bench.left_on_disk() == set()
    assert mounts_below(bench.home) == mounts_below(bench.home / "content")
    with pytest.raises(NotFoundError):
        bench.snapshotter.remove("key")


def what_is_mounted_is_not_removed(bench: Bench) -> None:
    image = bench.committed(BASE, CHANGE)
    for make in (bench.snapshotter.prepare, bench.snapshotter.view):
        with bench.mounted(make("key", image.chain_id)) as target:
            with pytest.raises(PreconditionError, match="mounted"):
                bench.snapshotter.remove("key")
            assert (target / "e").read_text() == "e"
        bench.snapshotter.remove("key")


def what_a_lease_holds_is_not_removed(bench: Bench) -> None:
    image = bench.committed(BASE)
    leases = Leases(bench.database)
    lease = leases.create("test", 60)
    leases.add(lease.id, "snapshot", [image.chain_id])

    with pytest.raises(PreconditionError, match="lease"):
        bench.snapshotter.remove(image.chain_id)
    assert bench.snapshotter.committed(image.chain_id)

    leases.delete(lease.id)
    bench.snapshotter.remove(image.chain_id)


def usage_is_what_the_snapshot_adds(bench: Bench) -> None:
    image = bench.committed(BASE)
    with bench.mounted(bench.snapshotter.prepare("key", image.chain_id)) as target:
        before = bench.snapshotter.usage("key")
        (target / "file").write_bytes(os.urandom(1 << 20))

    after = bench.snapshotter.usage("key")
    assert 1 << 20 <= after.bytes - before.bytes < 2 << 20
    assert after.inodes - before.inodes == 1
    assert bench.snapshotter.usage(image.chain_id).inodes >= 1
    with pytest.raises(NotFoundError):
        bench.snapshotter.usage("nothing")


def a_container_gets_its_snapshot_once(bench: Bench) -> None:
    image, other = bench.committed(BASE), bench.committed(CHANGE)
    first = create_snapshot(bench.snapshotter, "box", image.chain_id)

    assert create_snapshot(bench.open(), "box", image.chain_id) == first
    with pytest.raises(AlreadyExistsError, match="another container"):
        create_snapshot(bench.snapshotter, "box", other.chain_id)
    with pytest.raises(AlreadyExistsError, match="expected view"):
        create_snapshot(bench.snapshotter, "box", image.chain_id, read_only=True)
    with pytest.raises(NotFoundError):
        create_snapshot(bench.snapshotter, "another", Digest.of(b"nothing"))


def a_reboot_takes_mounts_and_nothing_else(bench: Bench) -> None:
    image = bench.committed(BASE, CHANGE)
    target = bench.home / "target"
    target.mkdir()
    mount_all(bench.snapshotter.prepare("key", image.chain_id), target)
    (target / "new").write_text("kept")
    unmount(target)
    for point in reversed(mounts_below(bench.folder)):
        unmount(Path(point.path))

    mount_all(bench.open().mounts("key"), target)

    assert (target / "new").read_text() == "kept"
    assert (target / "e").read_text() == "e"
    unmount(target)


def several_processes_do_not_hinder_each_other(bench: Bench) -> None:
    image = bench.image(BASE, CHANGE)

    def work(number: int) -> None:
        driver = bench.open()
        driver.commit_layers(image)
        for turn in range(3):
            mounts = driver.prepare(f"key-{number}-{turn}", image.chain_id)
            assert bench.unlike(mounts, BASE, CHANGE) == []
            if turn:
                driver.remove(f"key-{number}-{turn}")
            driver.cleanup()

    in_processes(4, work)

    assert [row.key for row in bench.snapshotter.walk()][:2] == [layer.chain_id for layer in image.layers]
    for number in range(4):
        assert bench.unlike(bench.snapshotter.mounts(f"key-{number}-0"), BASE, CHANGE) == []
        bench.snapshotter.remove(f"key-{number}-0")
    for layer in reversed(image.layers):
        bench.snapshotter.remove(layer.chain_id)
    assert bench.left_on_disk() == set()


def cleanup_removes_what_no_row_names_and_nothing_else(bench: Bench) -> None:
    image = bench.committed(BASE, CHANGE)
    bench.snapshotter.prepare("key", image.chain_id)
    before = bench.left_on_disk()
    for stray in ("77", ".new-dead"):
        (bench.folder / stray / "fs").mkdir(parents=True)
        (bench.folder / stray / "fs" / "file").touch()
    (bench.home / "trash" / "tree-left").touch()

    bench.open().cleanup()

    assert bench.left_on_disk() == before
    assert bench.unlike(bench.snapshotter.mounts("key"), BASE, CHANGE) == []


SUITE: tuple[Callable[[Bench], None], ...] = (
    *LAWS,
    *snapshotter_damage.LAWS,
    every_chain_is_committed_on_its_parent,
    committing_again_changes_nothing,
    images_share_what_they_have_in_common,
    a_lower_chain_can_be_a_parent,
    a_layer_that_is_not_there_is_named,
    layers_that_make_no_tree_leave_nothing_behind,
    files_that_are_gone_are_made_again,
    unknown_chains_are_not_committed,
    without_a_parent_a_snapshot_is_empty,
    what_is_written_is_kept_and_seen_by_nobody_else,
    views_cannot_be_written,
    keys_and_parents_are_checked,
    only_active_snapshots_and_views_have_mounts,
    what_was_written_can_be_committed_and_built_upon,
    what_has_no_parent_can_be_committed_too,
    only_what_is_active_and_not_mounted_is_committed,
    removing_goes_from_children_to_parents_and_leaves_nothing,
    what_is_mounted_is_not_removed,
    what_a_lease_holds_is_not_removed,
    usage_is_what_the_snapshot_adds,
    a_container_gets_its_snapshot_once,
    a_reboot_takes_mounts_and_nothing_else,
    several_processes_do_not_hinder_each_other,
    cleanup_removes_what_no_row_names_and_nothing_else,
)
