"""Two commands at the same time on a disk that has room for one image: the second is told, until the first is gone."""

import random
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.store.node import open_node
from tests.flows.cli.conftest import Prestow
from tests.image_factory import write_image
from tests.registries import Fault, FaultRegistry
from tests.tar_builder import Tar

LAYER = 6 << 20
DISK = "20m"  # an image takes some 6 MiB, as blob and diff blob are one


@pytest.fixture
def small(prestow: Prestow, tmp_path: Path) -> Iterator[Prestow]:
    """The command on a store on a small disk, of which nothing has to stay free."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", folder], check=True)
    yield replace(prestow, home=folder / "store", api={**prestow.api, "PRESTOW_MIN_FREE_BYTES": str(7 << 20)})
    open_node(folder / "store").database.close()
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.long
def test_what_one_command_has_begun_another_counts_as_taken(small: Prestow, tmp_path: Path) -> None:
    for name in ("first", "second"):
        data = random.Random(name).randbytes(LAYER)
        write_image(tmp_path / "layout", [Tar().file(name, data).to_bytes()], ref=name, compression="none")
    with FaultRegistry(tmp_path / "layout") as registry:
        first, second = (f"{registry.domain}/team/{name}:{name}" for name in ("first", "second"))
        registry.on("/team/first/blobs/", Fault(stall_after=1 << 20))
        with small.start("pull", first) as process:
            while process.poll() is None and not announced(small):
                registry.ended.wait(0.02)
            refused = small("pull", second)
            process.send_signal(signal.SIGINT)
            process.communicate()

        allowed = small("pull", second, "--json")

    assert (refused.status, refused.out) == (10, "")
    assert "others will take" in refused.err
    assert allowed.document["checkpoint"] == "tagged", allowed.err


def announced(command: Prestow) -> bool:
    return command.home.exists() and bool(open_node(command.home).leases.announced(besides=""))
