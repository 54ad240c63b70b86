"""A containerd of each kind, a store beside it, and images in that, for tests that hand over."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from prestow.errors import PrestowError
from prestow.handover.hand_over import HandOver, hand_over
from prestow.handover.in_use import InUse, in_use
from prestow.oci.image import Image
from prestow.store.node import Node, open_node
from tests.containerd import DEBIAN, NEWER, PAUSE, Containerd, containerd
from tests.cri import Cri, cri, write_pause
from tests.pulling import NAME, pulled, pulled_demo
from tests.real_images import real_images
from tests.tmpfs import tmp_path

__all__ = ["real_images", "tmp_path"]

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="containerd needs root")


@dataclass(frozen=True)
class Kind:
    """A containerd to test with: where its programs are, which snapshotter CRI uses, and the form that follows."""

    name: str
    programs: Path
    snapshotter: str
    form: str


def newer() -> Path:
    """Where the programs of a newer containerd are, if a person built one."""
    return Path(os.environ.get(NEWER, "/nonexistent"))


_MISSING = f"{NEWER} does not name a folder with containerd 2.3.4 or later"
NEWER_ONLY = pytest.mark.skipif(not (newer() / "containerd").exists(), reason=_MISSING)
KINDS = (
    pytest.param(Kind("debian", DEBIAN, "overlayfs", "applied"), id="debian"),
    pytest.param(Kind("newer", newer(), "overlayfs", "applied"), id="newer", marks=NEWER_ONLY),
    pytest.param(Kind("erofs", newer(), "erofs", "linked"), id="erofs", marks=NEWER_ONLY),
)


@dataclass(frozen=True)
class Host:
    """A host with a store and a containerd.

    Attributes:
        kind: of the containerd.
        folder: of everything.
        containerd: as it runs now.
        node: the store.
    """

    kind: Kind
    folder: Path
    containerd: Containerd
    node: Node

    def hand_over(self, image: Image, name: str = NAME, *, pin: bool = False, force: bool = False) -> HandOver:
        """Hand an image over."""
        return hand_over(self.node, name, image, pin=pin, force=force)

    def in_use(self, *names: str) -> list[InUse]:
        """Ask what is in use."""
        return in_use(self.node, names)[1]

    def runs(self, image: str) -> bool:
        """Whether a container of an image runs, by containerd alone."""
        return self.containerd.runs(self.kind.snapshotter, image)

    @contextmanager
    def running(self, image: str, *command: str) -> Iterator[Path]:
        """Run a container that waits, and yield where its root file system is seen, by containerd's own mount."""
        name = f"box-{uuid4().hex}"
        self.containerd.ctr("run", "-d", "--snapshotter", self.kind.snapshotter, image, name, *command)
        try:
            yield self.containerd.folder / "state/io.containerd.runtime.v2.task/k8s.io" / name / "rootfs"
        finally:
            self.containerd.ctr("task", "rm", "-f", name)
            self.containerd.ctr("container", "rm", name)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each containerd that is at hand."""
    found: Kind = request.param
    return found


@contextmanager
def host_of(
    kind: Kind, folder: Path, monkeypatch: pytest.MonkeyPatch, *, store: Path | None = None, more: str = ""
) -> Iterator[Host]:
    """A host of one kind, whose store is in its folder, if not elsewhere; ``more`` is of containerd's configuration."""
    with containerd(folder / "c", programs=kind.programs, snapshotter=kind.snapshotter, more=more) as running:
        monkeypatch.setenv("PRESTOW_CONTAINERD_ADDRESS", str(running.address))
        node = open_node(store or folder / "store")
        yield Host(kind, folder, running, node)
        with suppress(PrestowError):
            node.close()


@pytest.fixture
def host(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host of one kind."""
    with host_of(kind, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def kubelet(host: Host, tmp_path: Path) -> Iterator[Cri]:
    """A connection to CRI, whose pods have what they stand on: handed over, too."""
    write_pause(tmp_path / "pause")
    image = pulled(host.node, f"oci:{tmp_path / 'pause'}:pause", PAUSE)[1]
    host.hand_over(image, PAUSE)
    with cri(host.containerd.address) as connected:
        yield connected


@pytest.fixture
def demo(host: Host, demo_layout: Path) -> Image:
    """The demo image, pulled and unpacked."""
    return pulled_demo(host.node, demo_layout)
