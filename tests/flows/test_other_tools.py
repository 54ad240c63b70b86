"""Images that other tools have built and converted: what we show of them is what ``umoci unpack`` makes of them.

``buildah`` builds four layers (no network, no daemon: its ``vfs`` storage and ``chroot`` isolation), with one of every
kind of change. ``skopeo`` takes the same image through a Docker archive and back, once to an OCI layout, once to a
registry as Docker's schema 2.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.bundle import bundle
from flows.pull import pull
from prestow.layers.tar.entry import Kind
from tests.cases import long_but
from tests.registries import DockerRegistry
from tests.trees import Listed, differences, listing

pytestmark = pytest.mark.usefixtures("prefect_server")

DRIVERS = ("erofs", "overlay", "native")
SOURCES = ("buildah", "docker-archive", "docker-archive-in-a-registry")
MOUNTED = ("buildah", "docker-archive-in-a-registry")

_BASE = """
mkdir -p bin etc home/app srv/data/old srv/data/keep var/log
chmod 1777 var/log; chmod 700 home/app; chown 1000:1000 home/app
cp {busybox} bin/busybox; ln bin/busybox bin/sh; ln -s busybox bin/cat; chmod 4755 bin/busybox
echo root:x:0:0:root:/:/bin/sh > etc/passwd; echo first > etc/motd; chown 12:3000000 etc/motd
setfattr -n user.note -v hello etc/motd
setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 bin/busybox
mkfifo srv/pipe; ln -s /nowhere srv/dangling; ln -s ../etc srv/link; mkfifo var/pipe; printf x > 'srv/ödd name'
for i in 1 2 3; do echo $i > srv/data/old/$i; echo $i > srv/data/keep/$i; done
truncate -s 3M srv/holes; printf end >> srv/holes
"""
_CHANGE = """
rm etc/motd srv/data/keep/2; rm -r srv/data/old; mkdir srv/data/old; echo new > srv/data/old/4
rm srv/pipe; mkdir srv/pipe; echo x > srv/pipe/file
rm srv/dangling; echo 'no longer' > srv/dangling
rm -r var/log; echo 'a file now' > var/log
"""
_RUN = "echo ran > /etc/ran; rm /srv/data/keep/1; chmod 640 /etc/passwd; ln /etc/ran /srv/ran"
_LAST = "chmod 711 srv/data; chown 7:8 'srv/ödd name'; rm bin/cat; ln srv/dangling srv/pipe/again"


@dataclass(frozen=True)
class Built:
    """One image in three forms: each a reference to pull, with what umoci unpacks of that form."""

    references: dict[str, str]
    unpacked: dict[str, dict[bytes, Listed]]


class Buildah:
    """Buildah with a store of its own."""

    def __init__(self, folder: Path) -> None:
        """Keep everything in ``folder``."""
        self._storage = ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]

    def __call__(self, *arguments: str) -> str:
        """Run it, and give what it says."""
        command = ["buildah", *self._storage, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def change(self, base: str, script: str, target: str) -> None:
        """Make an image of another one by a shell script that runs in its root."""
        container = self("from", base)
        root = self("mount", container)
        subprocess.run(["sh", "-euc", script], cwd=root, check=True)
        self("commit", "-q", "--rm", container, target)

    def run(self, base: str, script: str, target: str) -> None:
        """Make an image of another one by a shell script that its own shell runs."""
        container = self("from", base)
        self("run", "--isolation", "chroot", container, "--", "/bin/sh", "-euc", script)
        self("config", "--cmd", "/bin/sh", "--user", "1000", "--env", "PATH=/bin", container)
        self("commit", "-q", "--rm", container, target)


def _unpacked(layout: Path, folder: Path) -> dict[bytes, Listed]:
    command = ["umoci", "unpack", "--image", f"{layout}:image", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return listing(folder / "rootfs")


def _copy(source: str, target: str) -> None:
    subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", source, target], check=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, docker_registry: DockerRegistry) -> Built:
    """The image, built once."""
    folder = tmp_path_factory.mktemp("other-tools")
    layout, archive, again = folder / "oci", folder / "archive.tar", folder / "again"
    buildah = Buildah(folder / "buildah")
    buildah.change("scratch", _BASE.format(busybox=shutil.which("busybox")), "one")
    buildah.change("localhost/one", _CHANGE, "two")
    buildah.run("localhost/two", _RUN, "three")
    buildah.change("localhost/three", _LAST, f"oci:{layout}:image")

    target = f"{docker_registry.domain}/converted:image"
    _copy(f"oci:{layout}:image", f"docker-archive:{archive}:converted:image")
    _copy(f"docker-archive:{archive}", f"oci:{again}:image")
    _copy(f"docker-archive:{archive}", f"docker://{target}")

    first, second = _unpacked(layout, folder / "first"), _unpacked(again, folder / "second")
    references = (f"oci:{layout}:image", f"oci:{again}:image", target)
    return Built(dict(zip(SOURCES, references, strict=True)), dict(zip(SOURCES, (first, second, second), strict=True)))


def test_the_image_has_one_of_everything(built: Built) -> None:
    """Otherwise the comparison below would say little."""
    found = built.unpacked["buildah"]

    assert {listed.kind for listed in found.values()} == {Kind.DIRECTORY, Kind.REGULAR, Kind.SYMLINK, Kind.FIFO}
    assert {b"etc/motd", b"srv/data/keep/1", b"srv/data/keep/2", b"srv/data/old/1", b"bin/cat"}.isdisjoint(found)
    assert found[b"srv/data/old/4"].size == len("new\n")
    assert found[b"bin/sh"].linked == b"bin/busybox"
    assert found[b"etc/ran"].linked == found[b"srv/ran"].linked == b"etc/ran"
    assert found[b"bin/busybox"].mode == 0o4755
    assert [name for name, _ in found[b"bin/busybox"].xattrs] == [b"security.capability"]
    assert (found["srv/ödd name".encode()].uid, found[b"srv/holes"].size) == (7, (3 << 20) + 3)


@pytest.mark.parametrize("driver", long_but("erofs", DRIVERS))
@pytest.mark.parametrize("source", MOUNTED)
def test_a_mounted_root_is_what_umoci_unpacks(
    home: str, tmp_path: Path, built: Built, source: str, driver: str
) -> None:
    pulled = pull(built.references[source], driver=driver, home=home)

    made = bundle(pulled.name, str(tmp_path / "bundle"), id="seen", driver=driver, home=home)

    assert len(pulled.layers) == 4
    assert made.driver == driver
    assert differences(listing(tmp_path / "bundle/rootfs"), built.unpacked[source]) == []


@pytest.mark.parametrize("source", long_but("buildah", SOURCES))
def test_a_copied_root_is_what_umoci_unpacks(home: str, tmp_path: Path, built: Built, source: str) -> None:
    pulled = pull(built.references[source], home=home)

    bundle(pulled.name, str(tmp_path / "bundle"), copied=True, home=home)

    assert differences(listing(tmp_path / "bundle/rootfs"), built.unpacked[source]) == []
