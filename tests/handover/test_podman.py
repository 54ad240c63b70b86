"""Images handed over to a real podman: it lists them, runs them, and harms nothing; and nothing harms them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from prestow.errors import AlreadyExistsError, InvalidError, PreconditionError, RuntimeFailedError
from prestow.fsck.run import fsck
from prestow.gc.explain import explain
from prestow.gc.prune import prune
from prestow.handover.choose import podman_of
from prestow.handover.hand_over import HandOver, hand_over
from prestow.handover.in_use import InUse, in_use
from prestow.handover.undo import undo
from prestow.oci.image import Image
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.store.node import Node, open_node
from tests.handover.conftest import ROOT
from tests.image_factory import demo_layers, write_image
from tests.podman import Podman, podman
from tests.pulling import NAME, pulled, pulled_demo
from tests.tar_builder import Tar

pytestmark = ROOT

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Host:
    """A host with a store and podman."""

    node: Node
    podman: Podman
    folder: Path

    def hand_over(self, image: Image, name: str = NAME, *, force: bool = False) -> HandOver:
        """Hand an image over."""
        return hand_over(self.node, name, image, "podman", force=force)

    def in_use(self, name: str = NAME) -> InUse:
        """Ask about an image."""
        (found,) = in_use(self.node, [name], "podman")[1]
        return found

    def newer(self, name: str = NAME) -> Image:
        """Pull another image of the same layers under a name."""
        layout = self.folder / "newer"
        write_image(layout, demo_layers("amd64"), config={"Env": ["NEW=1"]})
        return pulled(self.node, f"oci:{layout}:test", name)[1]


@pytest.fixture
def driver(request: pytest.FixtureRequest) -> str:
    """The driver that unpacks images here."""
    return str(getattr(request, "param", "erofs"))


@pytest.fixture
def host(driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host whose podman names the store before anything was handed over."""
    monkeypatch.setenv("PRESTOW_DRIVER", driver)
    node = open_node(tmp_path / "store")
    with podman(tmp_path / "podman", node.home / "podman") as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield Host(node, found, tmp_path)
        node.close()
        found.reboot(node.home)


@pytest.fixture
def demo(host: Host, demo_layout: Path) -> Image:
    """The demo image, pulled and unpacked."""
    return pulled_demo(host.node, demo_layout)


@pytest.fixture
def other_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a layout may be that podman pulls: it makes a name of the path, which a random part may not spoil."""
    return tmp_path_factory.mktemp("other")


def test_podman_runs_it_by_tag_and_digest_and_id(host: Host, demo: Image) -> None:
    given = host.hand_over(demo)

    assert (given.form, given.pinned, given.runtime.startswith("podman ")) == ("mounted", True, True)
    names = [NAME, f"localhost/demo@{demo.target.digest}", demo.config.digest.encoded[:12]]
    assert demo.target.digest != demo.manifest.digest, "an index"
    assert [host.podman.runs(name) for name in names] == [True] * 3
    found = host.in_use()
    assert (found.in_use, found.resolves, found.form) == (True, dict.fromkeys(found.resolves, True), "mounted")
    assert found.shared_bytes == sum(host.node.content.info(layer.diff_id).size for layer in demo.layers)


@pytest.mark.parametrize("driver", ["overlay", "native"], indirect=True)
def test_an_image_that_another_driver_unpacked(host: Host, demo: Image, driver: str) -> None:
    host.hand_over(demo)

    assert host.podman.runs(NAME)
    (view,) = (each for each in host.node.snapshots() if each.key.startswith("podman."))
    assert view.driver == driver
    assert "podman has it" in explain(host.node, view.key)[0].reasons[0].why


def test_removals_by_podman_do_it_no_harm(host: Host, demo: Image) -> None:
    host.hand_over(demo)

    assert host.podman.done("rmi", "--force", NAME).returncode != 0
    host.podman.call("image", "prune", "--all", "--force")

    assert host.in_use().in_use
    assert host.podman.runs(NAME)


def test_images_with_the_same_layers_that_podman_pulls_are_whole(host: Host, demo: Image, other_layout: Path) -> None:
    host.hand_over(demo)
    write_image(other_layout, [*demo_layers("amd64"), Tar().file("new", b"new").to_bytes()])

    host.podman.call("pull", f"oci:{other_layout}:test")

    images = json.loads(host.podman.call("images", "--format", "json"))
    (other,) = (each["Id"] for each in images if not each.get("ReadOnly"))
    assert host.podman.runs(other)
    layers = json.loads(host.podman.call("image", "inspect", other))[0]["GraphDriver"]["Data"]
    assert str(host.podman.store) not in json.dumps(layers), "none of its layers is ours"


def test_after_a_boot_it_is_mounted_again(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    host.podman.reboot(host.node.home)
    assert not host.podman.runs(NAME)
    assert "hand-over --mount" in host.in_use().faults[0]

    assert podman_of(host.node).mount() == (1, 1)

    assert host.in_use().in_use
    assert host.podman.runs(NAME)
    assert podman_of(host.node).mount() == (0, 1)


def test_without_the_line_in_its_configuration_the_line_is_said(host: Host, demo: Image) -> None:
    host.podman.configure(additional=False)

    with pytest.raises(RuntimeFailedError) as caught:
        host.hand_over(demo)

    line = f'additionalimagestores = ["{host.podman.store}"]'
    assert line in str(caught.value)
    host.podman.configure(additional=True)
    assert host.podman.runs(NAME), "it was written, and the line was all that was missing"
    assert host.in_use().in_use


def test_another_storage_driver_of_podman_is_said(host: Host, demo: Image) -> None:
    config = host.podman.folder / "storage.conf"
    config.write_text(config.read_text().replace('driver = "overlay"', 'driver = "vfs"'))

    with pytest.raises(RuntimeFailedError, match=r'set driver = "overlay" in .*storage.conf, which now says vfs'):
        host.hand_over(demo)


def test_what_podman_has_stays_here_until_it_is_taken_back(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    host.node.images.remove(NAME)
    prune(host.node)
    assert host.podman.runs(NAME)

    (taken,) = undo(host.node, [NAME])

    assert taken.names == (f"localhost/demo@{demo.target.digest}", NAME)
    assert host.podman.call("images", "--quiet") == ""
    prune(host.node)
    assert [*host.node.content.walk()] == []
    assert mounts_below(host.node.home) == ()
    assert [path.name for path in (host.podman.store / "overlay").iterdir()] == ["l"]


def test_an_image_of_a_container_is_not_taken_back(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    host.podman.call("create", "--name", "box", NAME, "/bin/hello", "42")

    with pytest.raises(PreconditionError, match="podman rm box"):
        undo(host.node, [NAME])

    host.podman.call("start", "--attach", "box", status=42)
    assert host.in_use().last_container is not None
    host.podman.call("rm", "box")
    assert undo(host.node, [NAME])[0].names


def test_a_name_that_moved_here_moves_there(host: Host, demo: Image) -> None:
    host.hand_over(demo)

    newer = host.newer()
    host.hand_over(newer)

    assert host.podman.call("images", "--quiet", "--no-trunc").split() == [newer.config.digest]
    assert host.in_use().in_use
    assert host.podman.runs(NAME)


def test_the_earlier_image_stays_while_a_container_is_made_of_it(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    host.podman.call("create", "--name", "box", NAME, "/bin/hello", "42")

    host.hand_over(host.newer())

    host.podman.call("start", "--attach", "box", status=42)
    assert host.podman.runs(f"localhost/demo@{demo.target.digest}")


def test_two_names_of_one_image_are_taken_back_one_by_one(host: Host, demo: Image, demo_layout: Path) -> None:
    host.hand_over(demo)
    second = "localhost/second:1"
    host.hand_over(pulled(host.node, f"oci:{demo_layout}:demo", second)[1], second)

    undo(host.node, [NAME])

    assert host.podman.done("image", "exists", NAME).returncode != 0
    assert host.podman.runs(second)
    assert host.in_use(second).in_use


def test_a_name_of_another_image_is_kept_unless_forced(host: Host, demo: Image, other_layout: Path) -> None:
    write_image(other_layout, demo_layers("amd64")[:1])
    host.podman.store.mkdir()
    host.podman.call("pull", f"oci:{other_layout}:test")
    other = host.podman.call("images", "--quiet").strip()
    host.podman.call("tag", other, NAME)

    with pytest.raises(AlreadyExistsError, match="--force"):
        host.hand_over(demo)
    assert host.podman.call("images", "--quiet", NAME).strip() == other

    host.hand_over(demo, force=True)
    assert host.podman.runs(NAME)
    assert other in host.podman.call("images", "--quiet"), "it lost its name only"


def test_what_podman_pulled_itself_is_in_use_and_not_taken_back(host: Host, demo: Image, demo_layout: Path) -> None:
    host.podman.store.mkdir()
    host.podman.call("pull", f"oci:{demo_layout}:demo")
    image = host.podman.call("images", "--quiet").strip()
    for name in (NAME, "localhost/demo:other"):
        host.podman.call("tag", image, name)

    found = host.in_use()

    assert (found.handed_over, found.form) == (False, "")
    assert demo.config.digest.encoded.startswith(image)


def test_a_repair_shows_podman_the_new_file(host: Host, tmp_path: Path) -> None:
    noise = os.urandom(300_000)
    write_image(tmp_path / "oci", [Tar().file("noise", noise).to_bytes()])
    image = pulled(host.node, f"oci:{tmp_path / 'oci'}:test", NAME)[1]
    host.hand_over(image)
    (mount,) = mounts_below(host.podman.store)
    shown = Path(mount.path, "noise")
    with host.node.content.path(image.layers[0].diff_id).open("r+b") as file:
        file.seek(100_000)
        file.write(b"rotten")
    assert shown.read_bytes() != noise

    (result,) = fsck(host.node, NAME, repair=True).images

    assert result.left == ()
    assert shown.read_bytes() == noise
    assert host.in_use().in_use


def test_a_lost_database_takes_nothing_from_podman(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    home = host.node.home
    host.node.close()
    for path in home.glob("metadata.db*"):
        path.unlink()
    program = "import sys; from prestow.gc.prune import prune; from prestow.store.node import open_node as o; "
    program += "node = o(sys.argv[1]); [node.images.remove(each.name) for each in node.images.list()]; prune(node)"

    done = subprocess.run([sys.executable, "-c", program, home], capture_output=True, text=True, check=False)

    assert "it is rebuilt from the files on disk" in done.stderr
    assert host.podman.runs(NAME)
    host.podman.reboot(home)
    done = subprocess.run(
        [sys.executable, "-m", "prestow", "--home", home, "hand-over", "--mount", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"mounted": 1, "images": 1}
    assert host.podman.runs(NAME)


@pytest.mark.parametrize("samples", [3, pytest.param(40, marks=pytest.mark.long)])
def test_one_that_is_killed_is_completed_by_the_next_and_taken_back_whole(
    host: Host, demo: Image, samples: int
) -> None:
    def handed_over(call: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.handover.killed", str(host.node.home), NAME, "podman", str(call)]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    host.hand_over(demo)  # the first one makes directories that stay
    undo(host.node, [NAME])
    calls = int(handed_over(0).stdout)
    undo(host.node, [NAME])
    for call in range(1, calls + 1, max(1, calls // samples)):
        assert handed_over(call).returncode == -signal.SIGKILL
        host.hand_over(demo)
        assert host.in_use().in_use, call
        assert host.podman.runs(NAME), call
        undo(host.node, [NAME])
        assert mounts_below(host.podman.store) == (), call
        assert [each for each in host.node.snapshots() if each.key.startswith("podman.")] == [], call
        assert [path.name for path in (host.podman.store / "overlay").iterdir()] == ["l"], call


def test_an_image_that_is_not_unpacked_is_refused_with_the_reason(host: Host, demo: Image) -> None:
    host.node.content.delete(demo.layers[0].diff_id)

    with pytest.raises(PreconditionError, match="pull it without --no-unpack"):
        host.hand_over(demo)
    assert host.podman.call("images", "--quiet") == ""


def test_a_damaged_index_is_an_error_that_says_what_to_do(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    (host.podman.store / "overlay-images/images.json").write_text("[{}]")

    with pytest.raises(InvalidError, match=r"move .* away"):
        podman_of(host.node).mount()


def test_it_is_readable_for_root_alone(host: Host, demo: Image) -> None:
    host.hand_over(demo)
    assert host.podman.store.stat().st_mode & 0o077 == 0
