"""A disk on which an image fits only if its blobs do not stay: told before anything is fetched, and true."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.pull import pull
from prestow.errors import ExhaustedError
from prestow.fsck.image import fsck_image
from prestow.store.node import open_node
from tests.image_factory import write_image
from tests.registries import FaultRegistry
from tests.tar_builder import Tar

pytestmark = pytest.mark.usefixtures("prefect_server")

LAYERS, SIZE = 4, 8 << 20
SYMBOLS = bytes(n % 9 for n in range(256))  # random ones of nine compress by 2.4
DISK = "44m"  # the image is 32 MiB unpacked, 15 MiB compressed, and the store's own files take some


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of a few layers that compress as layers do."""
    folder = tmp_path_factory.mktemp("large")
    numbers = random.Random(1)
    files = [numbers.randbytes(SIZE).translate(SYMBOLS) for _ in range(LAYERS)]
    tars = [Tar().file(f"file{n}", data).to_bytes() for n, data in enumerate(files)]
    write_image(folder, tars, ref="large", compression="zstd")  # gzip takes seconds
    return folder


@pytest.fixture
def registry(layout: Path) -> Iterator[FaultRegistry]:
    with FaultRegistry(layout) as opened:
        yield opened


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", folder], check=True)
    yield folder
    open_node(str(folder / "store")).close()
    open_node(str(folder / "store")).database.close()
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", str(1 << 20))
    return monkeypatch


def test_it_is_refused_with_the_figures_before_a_layer_is_asked_for(
    disk: Path, registry: FaultRegistry, settings: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExhaustedError, match=r"needs about 52\.\d MiB .* keep_blobs = false"):
        pull(f"{registry.domain}/team/large:large", driver="erofs", home=str(disk / "store"))

    assert len(registry.requests("/blobs/", "GET")) == 1, "the config"


def test_it_fits_where_blobs_go_and_each_layer_comes_when_the_one_before_has_gone(
    disk: Path, registry: FaultRegistry, settings: pytest.MonkeyPatch
) -> None:
    settings.setenv("PRESTOW_KEEP_BLOBS", "false")

    pulled = pull(f"{registry.domain}/team/large:large", driver="erofs", home=str(disk / "store"))

    assert pulled.checkpoint == "tagged"
    node = open_node(str(disk / "store"))
    assert fsck_image(node, node.image(pulled.name)).damaged == ()
    assert sum(info.size for info in node.content.walk()) < LAYERS * (SIZE + 4096)


def test_unchecked_it_fills_the_disk_and_says_so(
    disk: Path, registry: FaultRegistry, settings: pytest.MonkeyPatch
) -> None:
    settings.setenv("PRESTOW_CHECK_SPACE", "false")

    with pytest.raises(ExhaustedError, match="No space left"):
        pull(f"{registry.domain}/team/large:large", driver="erofs", home=str(disk / "store"))

    assert os.statvfs(disk).f_bavail < SIZE


def test_an_image_that_is_larger_than_allowed_is_stopped_while_it_is_unpacked(
    home: str, registry: FaultRegistry, settings: pytest.MonkeyPatch
) -> None:
    settings.setenv("PRESTOW_MAX_IMAGE_BYTES", str(LAYERS * SIZE - 1))

    with pytest.raises(ExhaustedError, match="raise max_image_bytes"):
        pull(f"{registry.domain}/team/large:large", driver="erofs", home=home)

    assert sum(path.stat().st_size for path in Path(home).rglob("*")) < LAYERS * SIZE * 1.6
