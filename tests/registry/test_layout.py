"""An OCI layout as a source: in a folder or a tar, by us and by others, whole and broken."""

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.errors import InvalidError, MismatchError, NotFoundError, PrestowError, UnsupportedError
from prestow.oci.descriptor import Descriptor
from prestow.reference import LayoutReference
from prestow.registry.layout import open_layout
from prestow.registry.layout_source import LayoutSource
from tests.image_factory import put_blob, read_blob, tag, write_demo_image, write_image


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """A layout of the test's own, with the demo image."""
    write_demo_image(tmp_path / "layout")
    return tmp_path / "layout"


@pytest.fixture(params=["folder", "tar", "tar ./"])
def container(request: pytest.FixtureRequest, layout: Path, tmp_path: Path) -> Path:
    """The same layout in everything that it can lie in."""
    if request.param == "folder":
        return layout
    archive = tmp_path / "layout.tar"
    members = ["."] if request.param.endswith("./") else sorted(path.name for path in layout.iterdir())
    subprocess.run(["tar", "-cf", archive, "-C", layout, *members], check=True)
    return archive


def source(path: Path, ref: str | None = None) -> LayoutSource:
    return LayoutSource(LayoutReference(path, ref))


def whole(found: LayoutSource, descriptor: Descriptor, offset: int = 0) -> bytes:
    with found.fetch(descriptor, offset) as chunks:
        return b"".join(chunks)


def test_a_name_and_its_blobs_are_found(container: Path, layout: Path) -> None:
    found = source(container, "demo")

    target = found.resolve()

    assert whole(found, target) == read_blob(layout, target.digest)
    assert Digest.of(whole(found, target)) == target.digest


@pytest.mark.parametrize("offset", [1, 100, 490, 491])
def test_a_blob_is_read_from_any_offset(container: Path, layout: Path, offset: int) -> None:
    found = source(container, "demo")
    target = found.resolve()

    assert whole(found, target, offset) == read_blob(layout, target.digest)[offset:]


def test_blobs_larger_than_a_buffer_are_read_whole(layout: Path) -> None:
    blob = put_blob(layout, os.urandom(3_000_000), "application/octet-stream")

    assert whole(source(layout), blob) == read_blob(layout, blob.digest)
    assert whole(source(layout), blob, 2_500_000) == read_blob(layout, blob.digest)[2_500_000:]


def test_without_a_name_the_only_image_is_meant(layout: Path) -> None:
    assert source(layout).resolve() == source(layout, "demo").resolve()

    tag(layout, source(layout).resolve(), "twin")
    assert source(layout).resolve() == source(layout, "twin").resolve()

    write_image(layout, [b"\0" * 1024], ref="other")
    with pytest.raises(InvalidError, match="demo, other, twin"):
        source(layout).resolve()


def test_an_unknown_name_is_answered_with_those_that_there_are(layout: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has demo$"):
        source(layout, "absent").resolve()


def test_a_name_for_two_images_is_ambiguous(layout: Path) -> None:
    write_image(layout, [b"\0" * 1024], ref="other")
    index = json.loads((layout / "index.json").read_bytes())
    for entry in index["manifests"]:
        entry["annotations"] = {"org.opencontainers.image.ref.name": "same"}
    (layout / "index.json").write_text(json.dumps(index))

    with pytest.raises(InvalidError, match="2 images"):
        source(layout, "same").resolve()


def test_dockers_archives_name_images_in_full(layout: Path) -> None:
    index = json.loads((layout / "index.json").read_bytes())
    index["manifests"][0]["annotations"] = {
        "io.containerd.image.name": "docker.io/library/demo:1",
        "org.opencontainers.image.ref.name": "1",
    }
    (layout / "index.json").write_text(json.dumps(index))

    assert source(layout, "docker.io/library/demo:1").resolve() == source(layout, "1").resolve()


def test_skopeo_writes_what_we_read(layout: Path, tmp_path: Path) -> None:
    folder, archive = tmp_path / "copy", tmp_path / "copy.tar"
    for target in (f"oci:{folder}:made", f"oci-archive:{archive}:made"):
        copy = ["skopeo", "copy", "-q", "--all", "--preserve-digests"]
        subprocess.run([*copy, f"oci:{layout}:demo", target], check=True, timeout=60)

    expected = source(layout, "demo").resolve()
    for path in (folder, archive):
        assert source(path, "made").resolve() == expected
        assert whole(source(path), expected) == read_blob(layout, expected.digest)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("oci-layout", None, NotFoundError),
        ("oci-layout", b"", InvalidError),
        ("oci-layout", b"[]", InvalidError),
        ("oci-layout", b'{"imageLayoutVersion":"2.0.0"}', UnsupportedError),
        ("oci-layout", b'{"imageLayoutVersion":1}', InvalidError),
        ("oci-layout", b" " * (5 << 20), PrestowError),
        ("index.json", None, NotFoundError),
        ("index.json", b"null", InvalidError),
        ("index.json", b'{"schemaVersion":2,"manifests":null}', InvalidError),
        ("index.json", b'{"schemaVersion":2,"manifests":[7]}', InvalidError),
        ("index.json", b'{"schemaVersion":2,"manifests":[]}', NotFoundError),
    ],
)
def test_what_breaks_the_layout_is_refused(
    layout: Path, name: str, content: bytes | None, expected: type[PrestowError]
) -> None:
    if content is None:
        (layout / name).unlink()
    else:
        (layout / name).write_bytes(content)

    with pytest.raises(expected):
        source(layout).resolve()


def test_a_blob_of_another_size_or_none_is_told(layout: Path) -> None:
    target = source(layout).resolve()
    path = layout / "blobs/sha256" / target.digest.encoded
    path.write_bytes(b"x")

    with pytest.raises(MismatchError, match="found 1"):
        whole(source(layout), target)
    path.unlink()
    with pytest.raises(NotFoundError):
        whole(source(layout), target)


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_a_blob_that_is_no_file_is_not_waited_for(layout: Path, kind: str) -> None:
    target = source(layout).resolve()
    path = layout / "blobs/sha256" / target.digest.encoded
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")

    with pytest.raises(NotFoundError, match="not a regular file"):
        whole(source(layout), target)


def test_a_tar_whose_members_are_links_has_no_such_files(tmp_path: Path) -> None:
    archive = tmp_path / "links.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("oci-layout", "index.json"):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)

    with pytest.raises(NotFoundError):
        source(archive).resolve()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"text " * 1000)

    with pytest.raises(InvalidError):
        source(tmp_path / "text").resolve()
    with pytest.raises(NotFoundError, match="does not exist"):
        source(tmp_path / "absent").resolve()
    with pytest.raises(InvalidError, match="neither"):
        source(Path("/dev/null")).resolve()


def test_a_layout_is_opened_for_serving_by_canonical_names(layout: Path, tmp_path: Path) -> None:
    target = tag(layout, source(layout).resolve(), "registry.example/team/app:1")

    find, blobs = open_layout(layout)

    for name in ("localhost/demo:latest", "registry.example/team/app:1"):
        assert find(name).digest == target.digest
    with pytest.raises(NotFoundError):
        find("docker.io/library/demo:latest")
    assert blobs.read(target.digest) == read_blob(layout, target.digest)
    with pytest.raises(NotFoundError):
        open_layout(tmp_path / "absent")


def test_what_is_served_is_never_a_link_and_documents_are_verified(layout: Path, tmp_path: Path) -> None:
    _, blobs = open_layout(layout)
    secret = tmp_path / "secret"
    secret.write_text("canary")
    (layout / "blobs/sha256" / ("0" * 64)).symlink_to(secret)
    (layout / "blobs/sha256" / ("1" * 64)).write_text("canary")

    with pytest.raises(NotFoundError):
        blobs.open(Digest("sha256:" + "0" * 64))
    with pytest.raises(MismatchError):
        blobs.read(Digest("sha256:" + "1" * 64))
