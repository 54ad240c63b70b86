"""An export that ends in the middle: nothing of it is left, and the next one is whole."""

import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.errors import ExhaustedError, InvalidError
from prestow.export.select import LEFT_OUT, choose, earlier_exports
from prestow.export.tar import header
from prestow.export.write import Export, export_of, write_archive, write_layout
from prestow.layers.limits import Limits
from prestow.layers.tar.reader import entries
from prestow.oci.descriptor import Descriptor
from prestow.reference import LayoutReference
from prestow.registry.archive import Scratch
from prestow.registry.layout import blob_name
from prestow.registry.layout_source import LayoutSource
from tests.image_factory import write_demo_image
from tests.limited import forked


@pytest.fixture
def content(tmp_path: Path) -> LocalStore:
    """A content store with the demo image, and its name in the layout."""
    store = LocalStore(tmp_path / "content", tmp_path / "ingest")
    write_demo_image(store.root)
    return store


@pytest.fixture
def export(content: LocalStore) -> Export:
    target = LayoutSource(LayoutReference(content.root)).resolve()
    return export_of(content, [choose(content, "localhost/demo:latest", target, nothing)], nothing)


def nothing(_: Descriptor) -> bool:
    return False


def test_a_layer_that_an_earlier_layout_names_and_does_not_have_is_exported(
    content: LocalStore, tmp_path: Path
) -> None:
    """Archives of other tools list platforms without their blobs; the site cannot have pulled those."""
    earlier = write_demo_image(tmp_path / "earlier")
    layer = choose(content, "localhost/demo:latest", earlier, nothing).manifests[0].layers[0]
    (tmp_path / "earlier" / blob_name(layer.digest)).unlink()
    in_earlier = earlier_exports([tmp_path / "earlier"], Scratch())

    export = export_of(content, [choose(content, "localhost/demo:latest", earlier, in_earlier)], in_earlier)

    assert {blob.digest for blob in export.blobs} - {document.digest for document in export.images[0].documents} == {
        layer.digest
    }


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    return tmp_path / "stick"


def ended(work: Callable[[], object]) -> int:
    """Do something in a process of its own, and return its status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(forked(work), 0)[1])


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("write", "hidden"), [(write_archive, 0), (write_layout, 1)])
def test_a_killed_export_leaves_nothing_of_its_name_and_the_next_one_cleans_up(
    content: LocalStore, export: Export, stick: Path, write: Callable[..., int], hidden: int
) -> None:
    assert ended(lambda: write(content, export, stick / "out", progress=die)) == -signal.SIGKILL
    assert len([path.name for path in stick.iterdir() if path.name.startswith(".prestow-export")]) == hidden
    assert not (stick / "out").exists()

    write(content, export, stick / "out")

    assert [path.name for path in stick.iterdir()] == ["out"]
    found = LayoutSource(LayoutReference(stick / "out", "localhost/demo:latest"))
    assert found.resolve().digest == export.images[0].target.digest
    assert export.images[0].platforms == ("linux/amd64", "linux/arm64")


@pytest.mark.parametrize("write", [write_archive, write_layout])
def test_a_disk_that_is_too_small_has_nothing_of_it(
    content: LocalStore, export: Export, stick: Path, write: Callable[..., int]
) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
        with pytest.raises(ExhaustedError, match=r"File too large; choose another disk, or leave out with --without"):
            write(content, export, stick / "out")

    assert ended(limited) == 0
    assert [*stick.iterdir()] == []


def test_what_surely_does_not_fit_is_refused_before_anything_is_written(content: LocalStore, stick: Path) -> None:
    huge = Descriptor("application/octet-stream", Digest.of(b""), 1 << 50)

    with pytest.raises(ExhaustedError, match=r"the export needs 1024\.0 TiB"):
        write_archive(content, Export((), (huge,), (), ()), stick / "out")

    assert [*stick.iterdir()] == []


def test_a_list_of_what_was_left_out_that_has_no_digests_is_refused(tmp_path: Path) -> None:
    write_demo_image(tmp_path / "earlier")
    index = tmp_path / "earlier/index.json"
    index.write_text(json.dumps({**json.loads(index.read_bytes()), "annotations": {LEFT_OUT: "sha256:../x"}}))

    with pytest.raises(InvalidError, match=rf"earlier: annotation {LEFT_OUT}: digest"):
        earlier_exports([tmp_path / "earlier"], Scratch())


@pytest.mark.parametrize(
    ("name", "size"), [("index.json", 7), (f"blobs/sha512/{'a' * 128}", 7), ("blobs/sha256/x", 9 << 30)]
)
def test_names_and_sizes_beyond_ustar_read_back(tmp_path: Path, name: str, size: int) -> None:
    archive = tmp_path / "a.tar"
    with archive.open("wb") as file:
        file.write(header(name, size))
        file.truncate(file.tell() + (size + 511) // 512 * 512 + 1024)

    with archive.open("rb", buffering=0) as file:
        (entry,) = entries(file, limits=Limits())
    assert (entry.name.decode(), entry.size, entry.mode) == (name, size, 0o644)
