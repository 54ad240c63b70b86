"""Archives as sources: what skopeo and docker write is read where it lies, and a hostile one reads nothing else."""

import gzip
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.errors import ExhaustedError, InvalidError, MismatchError, NotFoundError, PrestowError, UnsupportedError
from prestow.layers.limits import Limits
from prestow.oci.descriptor import Descriptor
from prestow.oci.manifest import Manifest
from prestow.reference import LayoutReference, Transport
from prestow.registry.archive import Scratch
from prestow.registry.layout_source import Layouts, LayoutSource
from tests.image_factory import compress, demo_layers, read_blob, write_demo_image
from tests.tar_builder import Tar

LAYERS = demo_layers("amd64")
DIFF_IDS = [Digest.of(layer) for layer in LAYERS]
ONE = {"a": LAYERS[0]}
NAME = "docker.io/library/demo:1"


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with the demo image."""
    folder = tmp_path_factory.mktemp("archives") / "layout"
    write_demo_image(folder)
    return folder


@pytest.fixture(scope="module")
def archives(layout: Path) -> Mapping[str, Path]:
    """The demo image as skopeo writes it in each kind of archive, under its name."""
    found = {kind: layout.parent / f"{kind}.tar" for kind in ("oci-archive", "docker-archive")}
    for kind, path in found.items():
        run = ["skopeo", "copy", "-q", f"oci:{layout}:demo", f"{kind}:{path}:{NAME}"]
        subprocess.run(run, check=True, timeout=60, stdout=subprocess.DEVNULL)
    return found


def source(path: Path, ref: str | None = None, transport: Transport = "docker-archive") -> LayoutSource:
    return LayoutSource(LayoutReference(path, ref, transport))


def whole(found: LayoutSource, descriptor: Descriptor, offset: int = 0) -> bytes:
    with found.fetch(descriptor, offset) as chunks:
        return b"".join(chunks)


def manifest_of(found: LayoutSource) -> Manifest:
    target = found.resolve()
    raw = whole(found, target)
    assert Digest.of(raw) == target.digest
    return Manifest.parse(raw, target.media_type)


def config(diff_ids: list[Digest]) -> bytes:
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def saved(path: Path, layers: Mapping[str, bytes], diff_ids: list[Digest], **changed: object) -> Path:
    """Write an archive as ``docker save`` did before 2024, of one image without a name."""
    entry = {"Config": "config.json", "RepoTags": None, "Layers": [*layers], **changed}
    tar = Tar().file("config.json", config(diff_ids))
    for name, data in layers.items():
        tar.file(name, data)
    path.write_bytes(tar.file("manifest.json", json.dumps([entry]).encode()).to_bytes())
    return path


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_what_skopeo_writes_is_read_with_its_digests(
    archives: Mapping[str, Path], tmp_path: Path, kind: Transport, compression: str
) -> None:
    archive = tmp_path / "a"
    archive.write_bytes(compress(archives[kind].read_bytes(), compression))
    inspect = ["skopeo", "inspect", "--raw", f"{kind}:{archives[kind]}"]
    theirs = subprocess.run(inspect, check=True, capture_output=True, timeout=60).stdout

    found = source(archive, None, kind)

    ours = manifest_of(found)
    document = json.loads(theirs)
    assert ours.config.digest == document["config"]["digest"]
    assert [layer.digest for layer in ours.layers] == [layer["digest"] for layer in document["layers"]]
    if kind == "oci-archive":
        assert ours.raw == theirs
    for blob in (ours.config, *ours.layers):
        assert Digest.of(whole(found, blob)) == blob.digest
        assert whole(source(archive, None, kind), blob, 100) == whole(found, blob)[100:]
    assert found.own_name() == source(archive, "demo:1", kind).own_name() == NAME
    assert source(archive, "demo:1", kind).resolve() == found.resolve()


def test_an_archive_is_open_while_a_source_reads_from_it_and_decompressed_once(
    archives: Mapping[str, Path], tmp_path: Path
) -> None:
    archive = tmp_path / "d.tar.gz"
    archive.write_bytes(gzip.compress(archives["docker-archive"].read_bytes()))
    layouts = Layouts(Scratch(tmp_path))
    before = descriptors()

    sources = [LayoutSource(LayoutReference(archive, None, "docker-archive"), layouts) for _ in range(3)]
    moved = list[int]()
    assert [each.compressed_size for each in sources] == [archive.stat().st_size] * 3
    sources[0].open(moved.append)
    assert sum(moved) == archive.stat().st_size
    assert sources[0].compressed_size == 0
    assert len({each.resolve() for each in sources}) == 1
    assert descriptors() == before + 1 + 1  # the archive, and the nameless file
    assert [path.name for path in tmp_path.iterdir()] == ["d.tar.gz"]

    del sources
    assert descriptors() == before


def test_a_layer_that_stands_twice_is_a_link_and_found(tmp_path: Path) -> None:
    tar = Tar().file("config.json", config([DIFF_IDS[0], DIFF_IDS[0], DIFF_IDS[1]]))
    tar.file("aa/layer.tar", LAYERS[0]).symlink("bb/layer.tar", "../aa/layer.tar")
    tar.file("cc.tar", LAYERS[1]).hardlink("cc/layer.tar", "cc.tar")
    names = ["aa/layer.tar", "bb/layer.tar", "./cc/layer.tar"]
    tar.file("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": None, "Layers": names}]).encode())
    (tmp_path / "a.tar").write_bytes(tar.to_bytes())

    found = source(tmp_path / "a.tar")

    layers = manifest_of(found).layers
    assert [layer.digest for layer in layers] == [DIFF_IDS[0], DIFF_IDS[0], DIFF_IDS[1]]
    assert [whole(found, layer) for layer in layers] == [LAYERS[0], LAYERS[0], LAYERS[1]]
    assert found.own_name() is None


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_layers_keep_their_digests(tmp_path: Path, compression: str) -> None:
    packed = [compress(layer, compression) for layer in LAYERS]
    layers = {f"{Digest.of(data).encoded}.tar.gz": data for data in packed}
    archive = saved(tmp_path / "a.tar", layers, DIFF_IDS)

    manifest = manifest_of(source(archive))

    assert [layer.digest for layer in manifest.layers] == [Digest.of(data) for data in packed]
    assert all(layer.media_type.endswith(f".{compression}") for layer in manifest.layers)
    assert whole(source(archive), manifest.layers[2]) == packed[2]  # by a source that resolved nothing


def test_docker_of_today_writes_a_layout_whose_digests_count(layout: Path, tmp_path: Path) -> None:
    entry = json.loads((layout / "index.json").read_bytes())["manifests"][0]
    names = {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": "1"}
    index = {"schemaVersion": 2, "manifests": [{**entry, "annotations": names}]}
    tar = Tar().file("oci-layout", (layout / "oci-layout").read_bytes())
    for path in sorted((layout / "blobs/sha256").iterdir()):
        tar.file(f"blobs/sha256/{path.name}", path.read_bytes())
    tar.file("index.json", json.dumps(index).encode()).file("manifest.json", b"[]")
    (tmp_path / "a.tar").write_bytes(tar.to_bytes())

    for ref in (None, "demo:1", NAME, "@0"):
        found = source(tmp_path / "a.tar", ref)
        assert found.resolve().digest == entry["digest"]
        assert found.own_name() == NAME
    assert whole(found, found.resolve()) == read_blob(layout, Digest(entry["digest"]))


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("demo", "localhost/demo:latest"),
        ("team/demo:2", "localhost/team/demo:2"),
        ("a.example/b:1", "a.example/b:1"),
        ("B@", None),
    ],
)
def test_the_name_in_an_oci_archive_gets_a_domain_as_with_podman(tmp_path: Path, ref: str, name: str | None) -> None:
    layout = tmp_path / "layout"
    write_demo_image(layout, ref=ref)
    subprocess.run(["tar", "-C", layout, "-cf", tmp_path / "a.tar", "."], check=True)

    assert source(tmp_path / "a.tar", None, "oci-archive").own_name() == name


def test_several_images_are_told_apart_by_name_or_index(tmp_path: Path) -> None:
    entries = [
        {"Config": f"{n}.json", "RepoTags": tags, "Layers": [f"{n}.tar"]}
        for n, tags in enumerate([["app:1", "app:latest"], ["host.example/b:1"], None])
    ]
    tar = Tar()
    for n, layer in enumerate(LAYERS):
        tar.file(f"{n}.json", config([Digest.of(layer)])).file(f"{n}.tar", layer)
    (tmp_path / "a.tar").write_bytes(tar.file("manifest.json", json.dumps(entries).encode()).to_bytes())

    def layer_of(ref: str) -> Digest:
        return manifest_of(source(tmp_path / "a.tar", ref)).layers[0].digest

    by_name = [layer_of(ref) for ref in ("app:1", "app", "docker.io/library/app:1", "host.example/b:1")]
    assert by_name == [DIFF_IDS[0], DIFF_IDS[0], DIFF_IDS[0], DIFF_IDS[1]]
    assert [layer_of(ref) for ref in ("@0", "@1", "@2")] == DIFF_IDS
    named = [source(tmp_path / "a.tar", ref).own_name() for ref in ("app:1", "app", "@0", "host.example/b:1", "@2")]
    app = "docker.io/library/app"
    assert named == [f"{app}:1", f"{app}:latest", f"{app}:1", "host.example/b:1", None]
    offer = "docker.io/library/app:1, docker.io/library/app:latest, host.example/b:1, @2$"
    with pytest.raises(InvalidError, match=f"means 3 images; name one of: {offer}"):
        source(tmp_path / "a.tar").resolve()
    for absent in ("other", "@3"):
        with pytest.raises(NotFoundError, match=f"no such image; it has {offer}"):
            source(tmp_path / "a.tar", absent).resolve()


@pytest.mark.parametrize(
    ("make", "transport", "expected", "match"),
    [
        (Path.absolute, "oci-archive", NotFoundError, "does not exist"),
        (Path.mkdir, "oci-archive", InvalidError, "is a directory, expected an archive; write oci:"),
        (
            lambda path: path.write_bytes(b"text " * 500),
            "docker-archive",
            InvalidError,
            "not an archive, expected a tar",
        ),
        (lambda path: path.write_bytes(b""), "docker-archive", InvalidError, "not an archive"),
        (lambda path: path.write_bytes(b"BZh91AY"), "oci-archive", UnsupportedError, "bzip2.*decompress it first"),
        (lambda path: path.write_bytes(gzip.compress(b"text" * 500)), "oci-archive", InvalidError, "not an archive"),
        (
            lambda path: path.write_bytes(gzip.compress(bytes(9999))[:-9]),
            "oci-archive",
            InvalidError,
            "gzip ends early",
        ),
        (
            lambda path: path.write_bytes(Tar().file("a", b"").to_bytes()),
            "docker-archive",
            NotFoundError,
            "manifest.json",
        ),
        (lambda path: path.write_bytes(Tar().file("a", b"").to_bytes()), "oci-archive", NotFoundError, "oci-layout"),
        (lambda path: saved(path, ONE, DIFF_IDS[:1]), "oci-archive", NotFoundError, "write docker-archive:"),
        (
            lambda path: path.write_bytes(saved(path, ONE, DIFF_IDS[:1]).read_bytes()[:5000]),
            "docker-archive",
            InvalidError,
            "breaks off",
        ),
    ],
)
def test_what_is_no_such_archive_is_refused_with_what_it_is(
    tmp_path: Path, make: Callable[[Path], object], transport: Transport, expected: type[PrestowError], match: str
) -> None:
    make(tmp_path / "a")

    with pytest.raises(expected, match=match):
        source(tmp_path / "a", None, transport).resolve()


@pytest.mark.parametrize("link", ["/etc/passwd", "../../etc/passwd", "a/../../../etc/passwd", "loop", "config.json/x"])
def test_a_link_leads_nowhere_but_to_a_member(tmp_path: Path, link: str) -> None:
    tar = Tar().file("config.json", config(DIFF_IDS[:1])).symlink("layer.tar", link).symlink("loop", "layer.tar")
    entry = {"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}
    (tmp_path / "a.tar").write_bytes(tar.file("manifest.json", json.dumps([entry]).encode()).to_bytes())

    with pytest.raises(NotFoundError, match="no regular file"):
        source(tmp_path / "a.tar").resolve()


@pytest.mark.parametrize("name", ["/etc/passwd", "../../../etc/passwd", "/proc/self/environ"])
def test_no_name_in_an_archive_is_looked_up_on_disk(tmp_path: Path, name: str) -> None:
    for changed in ({"Config": name}, {"Layers": [name]}):
        with pytest.raises(NotFoundError, match="no regular file"):
            source(saved(tmp_path / "a.tar", ONE, DIFF_IDS[:1], **changed)).resolve()


@pytest.mark.parametrize(
    ("document", "match"),
    [
        (b"{}", "expected a JSON array"),
        (b"[[]]", "expected an object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'[{"Config": "c", "Layers": 7}]', "expected an array"),
        (b'[{"Config": "c", "Layers": [], "layers": []}]', "misspelt"),
        (b'[{"Config": "c", "Layers": [' + b",".join([b'"a"'] * 1001) + b"]}]", "1001 layers"),
        (b'[{"Config": "c", "Layers": ["a"]}]', "has 3 layers, manifest.json says 1"),
        (b" " * (33 << 20), "limited to"),
    ],
)
def test_a_list_that_breaks_a_rule_is_refused(tmp_path: Path, document: bytes, match: str) -> None:
    tar = Tar().file("c", config(DIFF_IDS)).file("a", b"").file("manifest.json", document)
    (tmp_path / "a.tar").write_bytes(tar.to_bytes())

    with pytest.raises(PrestowError, match=match):
        source(tmp_path / "a.tar").resolve()


def test_a_layer_that_is_not_what_the_config_says_is_other_bytes(tmp_path: Path) -> None:
    archive = saved(tmp_path / "a.tar", ONE, DIFF_IDS[:1])
    raw = archive.read_bytes()
    archive.write_bytes(raw.replace(LAYERS[0], LAYERS[0][:-1] + b"x"))

    found = source(archive)
    layer = manifest_of(found).layers[0]

    assert Digest.of(whole(found, layer)) != layer.digest == DIFF_IDS[0]
    with pytest.raises(MismatchError, match="expected 7 bytes"):
        whole(found, Descriptor(layer.media_type, layer.digest, 7))


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        (Limits(max_layer_bytes=1 << 20), "raise max_image_bytes"),
        (Limits(max_ratio=2), "raise max_layer_ratio"),
    ],
)
def test_a_bomb_is_stopped_and_leaves_nothing(tmp_path: Path, limits: Limits, match: str) -> None:
    bomb = tmp_path / "bomb"
    bomb.write_bytes(gzip.compress(bytes(80 << 20), 1))
    reference = LayoutReference(bomb, None, "oci-archive")
    before = descriptors()

    with pytest.raises(ExhaustedError, match=match):
        LayoutSource(reference, Layouts(Scratch(tmp_path, limits))).resolve()

    assert [path.name for path in tmp_path.iterdir()] == ["bomb"]
    assert descriptors() == before
