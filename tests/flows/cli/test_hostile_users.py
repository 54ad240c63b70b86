"""D-06: ``prestow bundle`` of images whose ``/etc/passwd`` is anything but a table of users."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.cli.conftest import Done, Prestow
from tests.image_factory import write_image
from tests.tar_builder import Tar

ROOT = b"root:x:0:0:root:/root:/bin/sh\n"
APP = b"app:x:1000:1001::/home/app:/bin/sh\n"


def etc() -> Tar:
    return Tar().directory("etc")


REFUSED = {
    "fifo": (etc().fifo("etc/passwd"), "not a regular file"),
    "device": (etc().char("etc/passwd", 1, 5), "not a regular file"),
    "directory": (etc().directory("etc/passwd"), "not a regular file"),
    "circle": (etc().symlink("etc/passwd", "group").symlink("etc/group", "passwd"), "cannot be followed"),
    "line": (etc().file("etc/passwd", ROOT + b"x" * (20 << 20)), "at most 10485760 are read"),
    "negative": (etc().file("etc/passwd", ROOT + b"app:x:-1:1::/:\n"), "expected"),
}
TAKEN = {
    "twice": (etc().file("etc/passwd", ROOT + APP + b"app:x:0:0::/:/bin/sh\n"), 1000),
}


@pytest.fixture
def warm(prestow: Prestow) -> Iterator[Prestow]:
    """The command with its warm process, since there are many of them."""
    yield prestow
    prestow("warm", "stop")


@pytest.mark.long
def test_a_table_of_users_is_a_regular_file_of_bounded_size(warm: Prestow, tmp_path: Path) -> None:
    def bundled(name: str, layer: Tar) -> Done:
        write_image(tmp_path / "layout", [layer.to_bytes()], config={"User": "app", "Cmd": ["/x"]}, ref=name)
        done = warm("pull", f"oci:{tmp_path}/layout:{name}", "--name", f"localhost/{name}:1", env={"PRESTOW_COLD": "0"})
        assert done.status == 0, done.err
        return warm("bundle", f"localhost/{name}:1", str(tmp_path / name), env={"PRESTOW_COLD": "0"})

    for name, (layer, reason) in REFUSED.items():
        done = bundled(name, layer)
        assert done.status not in {0, 1}, (name, done)
        assert reason in done.err, name
        assert not (tmp_path / name / "config.json").exists()
    for name, (layer, uid) in TAKEN.items():
        done = bundled(name, layer)
        assert done.status == 0, (name, done.err)
        assert json.loads((tmp_path / name / "config.json").read_bytes())["process"]["user"]["uid"] == uid
