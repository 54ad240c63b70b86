"""Commands on a host that is odd: umasks, writes that are cut short, file systems that end inside the store."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from tests.flows.cli.conftest import PROJECT, Prestow

SHORT = """
import os, stat, threading
calls = threading.local()

def shortened(function, count, *more):
    def call(target, *arguments):
        arguments = list(arguments)
        if stat.S_ISREG(os.fstat(target if not more else more[0](target, arguments)).st_mode):
            calls.made = getattr(calls, "made", 0) + 1
            arguments = count(arguments, 1 + calls.made % 3 * 997)
            os.environ["SHORTENED"] = "1"
        return function(target, *arguments)
    return call

os.write = shortened(os.write, lambda given, most: [given[0][:most]])
os.copy_file_range = shortened(
    os.copy_file_range, lambda given, most: [given[0], min(given[1], most), *given[2:]], lambda target, given: given[0]
)
os.sendfile = shortened(os.sendfile, lambda given, most: [*given[:2], min(given[2], most)])
import atexit
atexit.register(lambda: open(os.environ["SHORTENED_NOTE"], "w").write(os.environ.get("SHORTENED", "")))
"""
"""For ``sitecustomize``: the system writes and copies a few bytes at a time, as it may."""


def modes(home: Path) -> dict[str, int]:
    """Modes of all that a pull makes by a name of its own choice."""
    kept = ("content", "snapshots", "metadata.db", "store.json", "bundles", "ingest", "trash", "looks")
    found = (path for name in kept for path in [home / name, *(home / name).rglob("*")] if path.exists())
    return {str(path.relative_to(home)): stat.S_IMODE(path.lstat().st_mode) for path in found}


@pytest.mark.long
def test_modes_do_not_depend_on_the_umask(prestow: Prestow, tmp_path: Path, demo_layout: Path) -> None:
    """C-25: two pulls at once into two stores, one under 000 and one under 077."""
    homes = {mask: tmp_path / f"store-{mask:03o}" for mask in (0o000, 0o077)}
    command = ("pull", f"oci:{demo_layout}:demo", "--driver", "native")
    pulls = [prestow.start(*command, "--home", str(home), umask=mask) for mask, home in homes.items()]
    for process in pulls:
        _, said = process.communicate()
        assert process.returncode == 0, said

    loose, strict = map(modes, homes.values())
    assert {name: loose[name] for name in loose.keys() & strict.keys()} == {
        name: strict[name] for name in loose.keys() & strict.keys()
    }
    assert {name for name in loose.keys() ^ strict.keys() if not name.startswith(("trash/", "looks/"))} == set()
    assert stat.S_IMODE(homes[0].stat().st_mode) == 0o700


@pytest.mark.long
def test_writes_that_are_cut_short_lose_nothing(prestow: Prestow, tmp_path: Path, demo_layout: Path) -> None:
    """C-26: pull, bundle by copy and verify, each file written a few hundred bytes at a time."""
    (tmp_path / "short").mkdir()
    (tmp_path / "short/sitecustomize.py").write_text(SHORT)
    note = tmp_path / "note"
    short = {"PYTHONPATH": str(tmp_path / "short"), "SHORTENED_NOTE": str(note)}

    done = prestow("pull", f"oci:{demo_layout}:demo", "--name", "localhost/demo:1", "--driver", "native", env=short)
    assert done.status == 0, done.err
    assert note.read_text() == "1"
    copied = prestow("bundle", "--copy", "localhost/demo:1", str(tmp_path / "bundle"), env=short)
    assert copied.status == 0, copied.err

    content = LocalStore(prestow.home / "content", prestow.home / "ingest")
    assert all(content.has(info.digest, info.size) for info in content.walk())
    assert prestow("fsck", "--all").status == 0
    assert (tmp_path / "bundle/rootfs/etc/motd").read_bytes() == b"Hello from a prestowed image.\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
@pytest.mark.long
@pytest.mark.parametrize("inside", ["ingest", "content/blobs"])
def test_a_file_system_that_ends_inside_the_store_is_told(prestow: Prestow, demo_layout: Path, inside: str) -> None:
    """C-33: one that is mounted on a part of the store, so that no file can be renamed to its place."""
    (prestow.home / inside).mkdir(parents=True)
    prestow.home.chmod(0o700)
    script = 'mount -t tmpfs -o mode=700 none "$1" && shift && exec "$@"'
    pull = [sys.executable, "-m", "prestow", "pull", f"oci:{demo_layout}:demo"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(prestow.home / inside), *pull],
        env=prestow.environment, cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode not in {0, 1}, done.stderr
    assert "file system" in done.stderr
    assert "Traceback" not in done.stderr
