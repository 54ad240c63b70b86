"""Pulls and garbage collections at the same time, in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from prestow.gc.collect import sweep
from prestow.metadata.images import Images
from tests.metadata.factory import Home, make_image
from tests.processes import Child

PULL = """
import sys
from pathlib import Path
from prestow.digest import Digest
from prestow.metadata.leases import Leases
from prestow.metadata.tag import tag, untag
from tests.metadata.factory import Home, make_image

home = Home.open(Path(sys.argv[1]))
leases = Leases(home.db)
name = f"localhost/pulled:{sys.argv[2]}"
reused = 0
for turn in range(40):
    layers = [b"shared", b"of all", sys.argv[2].encode(), str(turn).encode()]
    lease = leases.create("pull", 600)
    keys = [Digest.of(layer) for layer in layers]
    leases.add(lease.id, "content", keys)
    for layer, digest in zip(layers, keys):
        if home.content.has(digest, len(layer)):
            reused += 1
        else:
            home.put(layer)
        assert home.content.has(digest), "lost while it was leased"
    image = make_image(home, *layers, note=name)
    leases.add(lease.id, "content", image.blobs)
    image = make_image(home, *layers, note=name)
    assert image.blobs <= home.digests(), "lost while it was leased"
    tag(home.db, home.content, name, image.target)
    leases.delete(lease.id)
    assert image.blobs <= home.digests(), "lost while it was named"
    if turn % 3:
        untag(home.db, home.content, name)
print(reused)
"""

COLLECT = """
import sys
from pathlib import Path
from prestow.gc.collect import sweep
from tests.metadata.factory import Home

home = Home.open(Path(sys.argv[1]))
stop, seen = Path(sys.argv[2]), 0
while not stop.exists():
    now = home.db.read("PRAGMA data_version")[0][0]
    if now != seen:  # where nobody wrote there is nothing to collect: let others have the lock
        seen = now
        sweep(home.db, home.content)
"""

ROOT = Path(__file__).parents[2]


def start(script: str, *args: Path | str) -> Child[str]:
    command = [sys.executable, "-c", script, *map(str, args)]
    return Child(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.long
def test_no_pull_ever_loses_anything_to_a_collection(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    stop = tmp_path / "stop"
    kept = make_image(home, b"shared", b"kept")
    Images(home.db).put("localhost/kept:1", kept.target)
    collectors = [start(COLLECT, tmp_path, stop) for _ in range(2)]
    pulls = [start(PULL, tmp_path, str(n)) for n in range(2)]

    outputs = [pull.communicate() for pull in pulls]
    stop.touch()
    outputs += [collector.communicate() for collector in collectors]

    assert [process.returncode for process in (*pulls, *collectors)] == [0] * 4, outputs
    assert kept.blobs <= home.digests()
    for image in Images(home.db).list():
        home.content.read(image.target.digest)
    sweep(home.db, home.content)
    assert list(home.content.trash.iterdir()) == []
    assert len(home.digests()) <= 4 + 3 * 10
    home.db.close()
