"""The image factory: what it writes is deterministic, follows the specification, and works with others' tools."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from prestow.digest import Digest
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image, assemble
from prestow.oci.image_config import ImageConfig
from prestow.oci.index import Index
from prestow.oci.manifest import Manifest
from prestow.platforms import Platform, host
from tests import image_factory as factory
from tests.tar_builder import Tar

COMPRESSIONS = ["gzip", "zstd", "none"]

# What image-spec 1.1 says of these documents (descriptor.md, image-index.md, manifest.md, config.md, image-layout.md).
DESCRIPTOR: dict[str, Any] = {
    "type": "object",
    "required": ["mediaType", "digest", "size"],
    "properties": {
        "mediaType": {
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$",
        },
        "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"},
        "size": {"type": "integer", "minimum": 0},
        "platform": {
            "type": "object",
            "required": ["architecture", "os"],
            "properties": {name: {"type": "string"} for name in ("architecture", "os", "variant", "os.version")},
        },
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
INDEX = {
    "type": "object",
    "required": ["schemaVersion", "manifests"],
    "properties": {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": mediatypes.OCI_INDEX},
        "manifests": {"type": "array", "items": DESCRIPTOR},
    },
    "not": {"anyOf": [{"required": ["layers"]}, {"required": ["config"]}]},
}
MANIFEST = {
    "type": "object",
    "required": ["schemaVersion", "mediaType", "config", "layers"],
    "properties": {
        "schemaVersion": {"const": 2},
        "mediaType": {"const": mediatypes.OCI_MANIFEST},
        "config": {
            **DESCRIPTOR,
            "properties": {**DESCRIPTOR["properties"], "mediaType": {"const": mediatypes.OCI_CONFIG}},
        },
        "layers": {"type": "array", "minItems": 1, "items": DESCRIPTOR},
    },
    "not": {"required": ["manifests"]},
}
CONFIG = {
    "type": "object",
    "required": ["architecture", "os", "rootfs"],
    "properties": {
        "created": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"},
        "config": {
            "type": "object",
            "properties": {
                "User": {"type": "string"},
                "Env": {"type": "array", "items": {"type": "string", "pattern": "^[^=]+=.*$"}},
                "Entrypoint": {"type": "array", "items": {"type": "string"}},
                "Cmd": {"type": "array", "items": {"type": "string"}},
                "Labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "rootfs": {
            "type": "object",
            "required": ["type", "diff_ids"],
            "properties": {
                "type": {"const": "layers"},
                "diff_ids": {"type": "array", "items": DESCRIPTOR["properties"]["digest"]},
            },
        },
    },
}
LAYOUT = {
    "type": "object",
    "required": ["imageLayoutVersion"],
    "properties": {"imageLayoutVersion": {"const": "1.0.0"}},
}


def check(document: bytes, schema: dict[str, Any]) -> Any:
    value = json.loads(document)
    Draft202012Validator(schema).validate(value)
    return value


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def images(layout: Path, target: Descriptor) -> Iterator[Image]:
    index = Index.parse(factory.read_blob(layout, target.digest), target.media_type)
    for entry in index.manifests:
        manifest = Manifest.parse(factory.read_blob(layout, entry.digest), entry.media_type)
        config = ImageConfig.parse(factory.read_blob(layout, manifest.config.digest))
        yield assemble(target, manifest, config, selected=entry)


def one_platform(layout: Path, **options: Any) -> Path:
    """Write the demo image of this machine's architecture alone, since umoci does not choose from an index."""
    platform = Platform("linux", host().architecture)
    layers = factory.demo_layers(platform.architecture)
    factory.write_image(layout, layers, config=factory.DEMO_CONFIG, ref="demo", platform=platform, **options)
    return layout


def umoci_unpack(layout: Path, bundle: Path) -> None:
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:demo", bundle], check=True, capture_output=True)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_same_image_is_written_each_time(tmp_path: Path, compression: str) -> None:
    one, two = (factory.write_demo_image(tmp_path / name, compression=compression) for name in ("one", "two"))

    assert one == two
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_the_compression_changes_the_blobs_and_not_the_diff_ids(tmp_path: Path) -> None:
    targets = [factory.write_demo_image(tmp_path, ref=c, compression=c) for c in COMPRESSIONS]
    found = [list(images(tmp_path, target)) for target in targets]

    assert len({target.digest for target in targets}) == len(COMPRESSIONS)
    assert len({tuple(image.chain_id for image in pair) for pair in found}) == 1
    for compression, pair in zip(COMPRESSIONS, found, strict=True):
        types = {layer.descriptor.media_type for image in pair for layer in image.layers}
        assert types == {factory.layer_type(compression)}


def test_the_demo_image_is_for_two_platforms_with_three_layers_each(tmp_path: Path) -> None:
    target = factory.write_demo_image(tmp_path)

    assert [(str(i.platform), len(i.layers)) for i in images(tmp_path, target)] == [
        ("linux/amd64", 3),
        ("linux/arm64", 3),
    ]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_document_follows_the_specification(tmp_path: Path, compression: str) -> None:
    target = factory.write_demo_image(tmp_path, compression=compression)

    check((tmp_path / "oci-layout").read_bytes(), LAYOUT)
    check((tmp_path / "index.json").read_bytes(), INDEX)
    for entry in check(factory.read_blob(tmp_path, target.digest), INDEX)["manifests"]:
        manifest = check(factory.read_blob(tmp_path, Digest.parse(entry["digest"])), MANIFEST)
        config = check(factory.read_blob(tmp_path, Digest.parse(manifest["config"]["digest"])), CONFIG)
        assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
        assert (config["os"], config["architecture"]) == (entry["platform"]["os"], entry["platform"]["architecture"])


def test_every_blob_is_named_after_its_bytes_and_is_referred_to_with_its_size(tmp_path: Path) -> None:
    target = factory.write_demo_image(tmp_path)

    blobs = files(tmp_path / "blobs/sha256")
    assert all(hashlib.sha256(data).hexdigest() == name for name, data in blobs.items())
    for image in images(tmp_path, target):
        for descriptor in (image.target, image.manifest, image.config, *(layer.descriptor for layer in image.layers)):
            assert len(blobs[descriptor.digest.encoded]) == descriptor.size


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_skopeo_copies_and_inspects_either_platform(tmp_path: Path, compression: str, architecture: str) -> None:
    factory.write_demo_image(tmp_path / "layout", compression=compression)
    chosen = ["skopeo", "--override-arch", architecture, "--override-os", "linux"]

    subprocess.run(
        [*chosen, "--insecure-policy", "copy", f"oci:{tmp_path}/layout:demo", f"dir:{tmp_path}/copy"],
        check=True,
        capture_output=True,
    )
    shown = subprocess.run([*chosen, "inspect", f"oci:{tmp_path}/layout:demo"], check=True, capture_output=True)

    found = json.loads(shown.stdout)
    assert (found["Architecture"], found["Os"], len(found["Layers"])) == (architecture, "linux", 3)
    assert found["Labels"] == {"org.example.team": "fleet"}


def test_umoci_unpacks_the_file_system_that_was_meant(tmp_path: Path) -> None:
    layout = one_platform(tmp_path / "layout")

    umoci_unpack(layout, tmp_path / "bundle")

    root = tmp_path / "bundle/rootfs"
    assert (root / "etc/motd").read_bytes() == factory.MOTD
    assert not (root / "etc/removed").exists()
    assert (root / "srv/note").samefile(root / "srv/again")
    assert (root / "srv/motd").readlink() == Path("../etc/motd")
    assert os.getxattr(root / "srv/note", "user.note") == b"hello"
    assert (root / "home/app").stat().st_uid == 1000
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777


def test_runc_runs_what_umoci_unpacked(tmp_path: Path) -> None:
    layout, bundle = one_platform(tmp_path / "layout"), tmp_path / "bundle"
    umoci_unpack(layout, bundle)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["/bin/hello", "exit", "7"]}
    (bundle / "config.json").write_text(json.dumps(spec))

    name = f"factory-{os.getpid()}"
    command = ["runc", "--root", str(tmp_path / "state"), "run", "--bundle", str(bundle), name]
    result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)

    assert (result.returncode, result.stdout) == (7, factory.MOTD)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_docker_image_has_docker_s_media_types(tmp_path: Path, compression: str) -> None:
    tar = Tar().file("f", b"content").to_bytes()

    target = factory.write_image(tmp_path, [tar], compression=compression, docker=True)

    manifest = Manifest.parse(factory.read_blob(tmp_path, target.digest), mediatypes.DOCKER_MANIFEST)
    manifest.check_image()
    assert manifest.config.media_type == mediatypes.DOCKER_CONFIG
    assert mediatypes.layer_compression(manifest.layers[0].media_type) == compression


def test_a_name_moves_and_the_other_names_stay(tmp_path: Path) -> None:
    tars = [Tar().file(name).to_bytes() for name in ("one", "two")]
    first, kept = (
        factory.write_image(tmp_path, [tar], ref=ref) for tar, ref in zip(tars, ("moved", "kept"), strict=True)
    )

    second = factory.write_image(tmp_path, tars, ref="moved")

    entries = Index.parse((tmp_path / "index.json").read_bytes()).manifests
    assert {entry.annotations[factory.REF_NAME]: entry.digest for entry in entries} == {
        "kept": kept.digest,
        "moved": second.digest,
    }
    assert first.digest != second.digest


def test_a_variant_and_a_sha512_blob_can_be_written(tmp_path: Path) -> None:
    target = factory.write_image(tmp_path, [Tar().to_bytes()], platform=Platform("linux", "arm", "v7"))
    blob = factory.put_blob(tmp_path, b"content", "text/plain", algorithm="sha512")

    assert target.platform == Platform("linux", "arm", "v7")
    assert factory.read_blob(tmp_path, blob.digest) == b"content"


def test_the_layers_are_plain_tars_for_python_too(tmp_path: Path) -> None:
    for number, data in enumerate(factory.demo_layers("arm64")):
        path = tmp_path / str(number)
        path.write_bytes(data)
        with tarfile.open(path) as archive:
            assert all(not member.name.startswith("/") for member in archive)


def test_the_demo_image_can_be_written_from_a_shell(tmp_path: Path) -> None:
    root = Path(factory.__file__).parent.parent

    result = subprocess.run(
        [sys.executable, "-m", "tests.image_factory", tmp_path / "layout", "v1"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )

    assert Digest.parse(result.stdout.strip()) == factory.write_demo_image(tmp_path / "again", ref="v1").digest
    assert files(tmp_path / "layout") == files(tmp_path / "again")


def test_make_images_makes_its_small_image(tmp_path: Path) -> None:
    script = Path(factory.__file__).parent / "make-images"

    result = subprocess.run([script, tmp_path, "tiny"], check=True, capture_output=True, text=True)

    assert "tiny" in result.stdout.splitlines()
    entries = Index.parse((tmp_path / "oci/index.json").read_bytes()).manifests
    tiny = next(entry for entry in entries if entry.annotations[factory.REF_NAME] == "tiny")
    manifest = Manifest.parse(factory.read_blob(tmp_path / "oci", tiny.digest), tiny.media_type)
    config = ImageConfig.parse(factory.read_blob(tmp_path / "oci", manifest.config.digest))
    assert len(assemble(tiny, manifest, config).layers) == 3
    assert config.process.env == ("PATH=/bin:/usr/bin", "GREETING=hi")
