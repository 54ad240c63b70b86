"""Without root: an ordinary user pulls, copies and runs, and is told what is not as in the image.

Everything here runs in processes of user 65534, as programs that were never root. So that he reaches the interpreter,
wherever it is installed, they have a mount namespace in which only that is in folders that are closed to him.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from flows.local_server.ensure import Server, environment
from flows.runs.bundling import rootless
from prestow.containers import create as containers
from prestow.containers.create import Container, remove_container
from prestow.containers.process import run_bundle
from prestow.content.verify import verify as commit
from prestow.fsck.image import fsck_image
from prestow.layers.apply import apply
from prestow.metadata.tag import tag
from prestow.oci.image import Image
from prestow.oci.lookup import read_config
from prestow.platforms import host
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.runtime.overrides import Overrides
from prestow.runtime.transform import transform_config
from prestow.snapshots.commit import commit_snapshots
from prestow.snapshots.root_view import looked_at
from prestow.store.node import Node, open_node
from tests.image_factory import MOTD
from tests.real_images import RealImages
from tests.snapshots.unprivileged import NOBODY, home_of_nobody

PROJECT = Path(__file__).parents[2]
NAME = "localhost/test:latest"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of that user, on whose way everybody may go."""
    with home_of_nobody() as folder:
        yield folder


def readable(layout: Path, place: Path) -> Path:
    """Copy a layout to where everybody can read it."""
    copied = Path(shutil.copytree(layout, place / "layout"))
    subprocess.run(["chmod", "-R", "a+rX", copied], check=True)
    return copied


def as_user(
    place: Path, *command: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program as the owner of ``place``."""
    script, needed = ["set -e"], {Path(sys.base_prefix), Path(sys.prefix), PROJECT}
    closed = {path: found for path in needed if (found := _closed(path))}
    for number, path in enumerate(closed):
        script += [f"mkdir -p {place}/hold/{number}", f"mount --rbind {path} {place}/hold/{number}"]
    script += [f"mount -t tmpfs -o mode=755 none {folder}" for folder in set(closed.values())]
    for number, path in enumerate(closed):
        script += [f"mkdir -p {path}", f"mount --move {place}/hold/{number} {path}"]
    script += [f'cd {PROJECT}; exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups "$@"']
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "PRESTOW_HOME": str(place / "store"),
        "PRESTOW_COLD": "1",
        **(env or {}),
    }
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", "\n".join(script), "sh", *command],
        env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def _closed(path: Path) -> Path | None:
    """Return the topmost folder on the way to a path that not everybody may pass."""
    return next((folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001), None)


def engine(place: Path, source: str, function: Callable[..., None], *arguments: str) -> None:
    """Call one of the functions below as the owner of ``place``."""
    program = f"import sys; from tests.flows.test_rootless import {function.__name__} as f; f(*sys.argv[1:])"
    done = as_user(place, sys.executable, "-c", program, f"{place}/store", source, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def pulled(node: Node, source: str) -> Image:
    """Do what the flow ``pull`` does, without Prefect."""
    registry = node.source(source)
    target = registry.resolve()
    image = fetch_manifest(registry, node.content, target, host())
    for layer in image.layers:
        fetch_blob(registry, node.content, layer.descriptor)
        commit(node.content, layer.descriptor)
        apply(node.content, layer, scans=node.scans)
    commit_snapshots(node.snapshotter(), image)
    tag(node.database, node.content, NAME, target)
    return image


def made(node: Node, image: Image, args: Sequence[str], directory: Path) -> containers.Written:
    """Do what the flow ``bundle`` does with ``copied``."""
    overrides = Overrides(args=tuple(args), rootless=rootless())
    with looked_at(node.snapshotter(), image.chain_id, node.home / "looks") as root:
        spec = transform_config(read_config(node.content, image.config), overrides, root, host=host())
    return containers.write(node, Container("box", NAME, image, None), spec, directory)


def use(home: str, source: str, args: str, status: str, out: str) -> None:
    """Pull, verify, bundle, run and remove."""
    assert os.geteuid() == NOBODY
    node = open_node(home)
    image = pulled(node, source)
    found = fsck_image(node, node.images.get(NAME))
    assert (found.damaged, found.snapshots) == ((), 1)
    output: list[bytes] = []

    written = made(node, image, shlex.split(args), node.bundle_folder("box"))
    again = made(node, image, shlex.split(args), node.bundle_folder("box"))
    ended = run_bundle(node, "box", output=lambda piece, _: output.append(piece))

    assert (written.directory, written.driver) == (again.directory, "copy")
    assert (b"".join(output).decode(), ended.status) == (out, int(status))
    assert any("belong to you" in warning for warning in written.warnings)
    remove_container(node, "box")
    assert list((node.home / "bundles").glob("[!.]*")) == list(node.containers.list()) == []


def copy(home: str, source: str, args: str, directory: str) -> None:
    """Pull, and make a bundle that is nobody's but the caller's."""
    node = open_node(home)
    made(node, pulled(node, source), shlex.split(args), Path(directory))
    assert node.containers.list() == ()


@pytest.mark.long
def test_the_demo_image_is_pulled_bundled_run_and_removed(place: Path, demo_layout: Path) -> None:
    engine(place, f"oci:{readable(demo_layout, place)}:demo", use, "exit 7", "7", MOTD.decode())


@pytest.mark.long
def test_a_real_image_runs_and_a_copied_bundle_of_it_is_one_that_the_runtime_takes(
    place: Path, real_images: RealImages
) -> None:
    real_images.make("tiny")
    source = f"oci:{readable(real_images.layout, place)}:tiny"

    engine(place, source, use, "-c 'id -u; echo hi > /new; cat /new; exit 3'", "3", "0\nhi\n")
    engine(place, source, copy, "-c 'touch /etc/new'", f"{place}/elsewhere")

    command = ["runc", "--root", f"{place}/state", "run", "--bundle", f"{place}/elsewhere", f"rootless-{os.getpid()}"]
    done = as_user(place, *command)
    assert (done.returncode, done.stderr) == (0, "")
    assert (place / "elsewhere/rootfs/etc/new").stat().st_uid == NOBODY


def test_the_command_runs_a_container_without_root(place: Path, demo_layout: Path, prefect_server: Server) -> None:
    source = f"oci:{readable(demo_layout, place)}:demo"
    api = {name: value for name, value in environment(prefect_server).items() if name != "PREFECT_HOME"}

    done = as_user(place, sys.executable, "-m", "prestow", "run", "--rm", source, "--", "exit", "7", env=api)

    assert (done.returncode, done.stdout) == (7, MOTD.decode()), done.stderr
    assert "warning: user 1000:1000 of the image does not exist in a rootless container" in done.stderr
    assert list((place / "store/bundles").glob("[!.]*")) == []
