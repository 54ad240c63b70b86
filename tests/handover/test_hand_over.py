"""Images handed over to a real containerd: in each form it says that it would use them, and it does."""

import os
from pathlib import Path

import pytest

from prestow.errors import AlreadyExistsError, InvalidError, NotFoundError, PreconditionError
from prestow.handover.hand_over import hand_over, is_handed_over
from prestow.handover.undo import undo
from prestow.oci.image import Image
from prestow.store.node import open_node
from tests.handover.conftest import ROOT, Host
from tests.image_factory import MOTD, demo_layers, write_image
from tests.pulling import NAME, pulled

pytestmark = ROOT


def inodes(folder: Path) -> set[int]:
    """The inodes of all files in a folder."""
    return {path.lstat().st_ino for path in folder.rglob("*") if path.is_file()}


def large(host: Host, layout: Path, *, name: str = "localhost/large:1") -> Image:
    """An image whose only layer is too large to be sent, and does not compress."""
    from tests.tar_builder import Tar

    tar = Tar().file("noise", os.urandom(300_000)).file("etc/motd", MOTD)
    write_image(layout, [tar.to_bytes()])
    return pulled(host.node, f"oci:{layout}:test", name)[1]


def test_a_container_runs_from_it_without_anything_fetched(host: Host, demo: Image) -> None:
    given = host.hand_over(demo)

    assert (given.form, given.snapshotter) == (host.kind.form, host.kind.snapshotter)
    assert host.runs(NAME)


def test_every_name_resolves_to_it(host: Host, demo: Image) -> None:
    host.hand_over(demo)

    (found,) = host.in_use(NAME)
    assert found.in_use
    assert found.resolves == {
        demo.config.digest: True, f"localhost/demo@{demo.target.digest}": True, "localhost/demo:latest": True,
    }  # fmt: skip
    assert (found.unpacked, found.handed_over, found.form) == (True, True, host.kind.form)


def test_large_files_are_there_once(host: Host, tmp_path: Path) -> None:
    image = large(host, tmp_path / "oci")
    host.hand_over(image, "localhost/large:1")

    blobs = host.node.content
    (layer,) = image.layers
    theirs = inodes(host.containerd.folder / "root")
    assert blobs.path(layer.descriptor.digest).stat().st_ino in theirs
    if host.kind.form == "linked":
        assert blobs.path(layer.diff_id).stat().st_ino in theirs
    (found,) = host.in_use("localhost/large:1")
    assert found.shared_bytes >= layer.descriptor.size


def test_a_second_time_nothing_is_given(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    (before,) = host.node.hand_overs.list()

    again = host.hand_over(demo)

    assert again.form == host.kind.form
    assert host.node.hand_overs.list() == (before,)


def test_what_kubelet_removed_is_given_again(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    host.containerd.forget_images()
    assert not is_handed_over(host.node, NAME, demo, "auto", pin=False)

    host.hand_over(demo)

    assert host.in_use(NAME)[0].in_use
    assert host.runs(NAME)


def test_the_names_are_taken_back(host: Host, demo: Image) -> None:
    host.hand_over(demo)

    (taken,) = undo(host.node, ["demo"])

    assert len(taken.names) == 3
    assert host.containerd.ctr("images", "ls", "-q") == ""
    assert host.node.hand_overs.list() == ()
    with pytest.raises(NotFoundError, match="was not handed over"):
        undo(host.node, ["demo"])


def test_names_that_stand_for_something_else_now_are_left(host: Host, demo: Image, demo_layout: Path) -> None:
    host.hand_over(demo)
    other = _other(host, "localhost/demo:latest")
    host.containerd.ctr("images", "rm", NAME)
    host.containerd.ctr("images", "tag", other, NAME)

    (taken,) = undo(host.node, ["demo"])

    assert NAME not in taken.names
    assert NAME in host.containerd.ctr("images", "ls", "-q").split()


def _other(host: Host, name: str) -> str:
    """Let containerd have another image, by its own import."""
    layout = host.folder / "other"
    write_image(layout, demo_layers("amd64")[:1], ref="other")
    archive = host.folder / "other.tar"
    import tarfile

    with tarfile.open(archive, "w") as file:
        file.add(layout, ".")
    host.containerd.ctr("images", "import", "--index-name", "localhost/other:1", str(archive))
    return "localhost/other:1"


def test_a_name_of_another_image_is_kept_unless_forced(host: Host, demo: Image) -> None:
    host.containerd.ctr("images", "tag", _other(host, NAME), NAME)

    with pytest.raises(AlreadyExistsError, match="--force"):
        host.hand_over(demo)
    assert not host.in_use(NAME)[0].in_use

    host.hand_over(demo, force=True)
    assert host.in_use(NAME)[0].in_use


def test_a_name_that_moved_here_moves_there(host: Host, demo: Image, tmp_path: Path) -> None:
    host.hand_over(demo)
    write_image(tmp_path / "oci", demo_layers("amd64"), config={"Env": ["NEW=1"]})
    newer = pulled(host.node, f"oci:{tmp_path / 'oci'}:test", NAME)[1]

    host.hand_over(newer)

    (found,) = host.in_use(NAME)
    assert (found.in_use, found.digest) == (True, newer.target.digest)


def test_an_image_by_digest_alone_has_no_tag_there(host: Host, demo_layout: Path) -> None:
    from tests.pulling import pulled_demo

    image = pulled_demo(host.node, demo_layout)
    name = f"localhost/demo@{image.target.digest}"

    host.hand_over(image, name)

    assert sorted(host.containerd.ctr("images", "ls", "-q").split()) == sorted([name, image.config.digest])


def test_layers_that_are_not_kept_as_they_came_cannot_be_given(host: Host, demo: Image) -> None:
    host.node.content.delete(demo.layers[0].descriptor.digest)

    with pytest.raises(PreconditionError, match="keep_blobs"):
        host.hand_over(demo)
    assert host.containerd.ctr("images", "ls", "-q") == ""


def test_another_snapshotter_than_that_of_the_containers_is_refused(
    host: Host, demo: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_RUNTIME_SNAPSHOTTER", "native")
    node = open_node(host.folder / "second")
    with pytest.raises(InvalidError, match=f"runtime_snapshotter: .*{host.kind.snapshotter}"):
        hand_over(node, NAME, demo)


def test_containerd_restarted_still_has_it(host: Host, demo: Image) -> None:
    from tests.containerd import containerd

    host.hand_over(demo)
    host.containerd.process.terminate()
    host.containerd.process.wait()

    with containerd(
        host.containerd.folder, programs=host.kind.programs, snapshotter=host.kind.snapshotter
    ) as restarted:
        client = restarted.client()
        found = client.call("Cri.ImageStatus", image={"image": NAME})
        client.close()
    assert found.image.id == demo.config.digest


def test_what_the_runtime_pulled_itself_is_in_use_and_not_taken_back(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    for record in host.node.hand_overs.list():  # as if another had given it
        host.node.hand_overs.drop(record)

    assert host.hand_over(demo).form == ""
    (found,) = host.in_use(NAME)
    assert (found.in_use, found.handed_over, found.form) == (True, True, "")
    (taken,) = undo(host.node, ["demo"])
    assert taken.names == ()
    assert host.in_use(NAME)[0].in_use


def test_many_images_are_asked_for_at_once(host: Host, demo: Image, tmp_path: Path) -> None:
    image = large(host, tmp_path / "oci")
    host.hand_over(demo)

    assert {each.name: each.in_use for each in host.in_use()} == {NAME: True, "localhost/large:1": False}
    host.hand_over(image, "localhost/large:1")
    assert all(each.in_use for each in host.in_use())
