"""Real images, small and deterministic, made of nothing but this file: OCI layouts that any tool can read.

    DIR/oci-layout  index.json  blobs/<algorithm>/<hex>

:func:`write_demo_image` writes an image for two platforms; :func:`write_image` one around given tars. The steps
below them (:func:`put_blob`, :func:`put_document`, :func:`tag`) are there for tests that want something broken.
To write the demo image from a shell: ``python -m tests.image_factory DIR [REF]``.
"""

import json
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard

from prestow.digest import Digest
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.platforms import Platform
from tests.programs import hello
from tests.tar_builder import Tar

CREATED = "2024-01-01T00:00:00Z"
MTIME = 1_700_000_000
REF_NAME = "org.opencontainers.image.ref.name"
PLATFORMS = (Platform("linux", "amd64"), Platform("linux", "arm64"))
MOTD = b"Hello from a prestowed image.\n"

DEMO_CONFIG: Mapping[str, object] = {
    "User": "app",
    "Env": ["PATH=/bin:/usr/bin", "GREETING=hi"],
    "Entrypoint": ["/bin/hello"],
    "WorkingDir": "/home/app",
    "Labels": {"org.example.team": "fleet"},
    "StopSignal": "SIGINT",
}


def write_demo_image(layout: Path, *, ref: str = "demo", compression: str = "gzip") -> Descriptor:
    """Write the demo image for linux/amd64 and linux/arm64, three layers each, and give its index.

    It prints ``/etc/motd``; with arguments such as ``exit 7`` it then ends with that status.
    """
    manifests = [
        put_image(layout, demo_layers(p.architecture), config=DEMO_CONFIG, platform=p, compression=compression)
        for p in PLATFORMS
    ]
    return tag(layout, put_index(layout, manifests), ref)


def write_image(
    layout: Path,
    layers: list[bytes],
    *,
    config: Mapping[str, object] | None = None,
    ref: str = "test",
    compression: str = "gzip",
    platform: Platform = PLATFORMS[0],
    docker: bool = False,
) -> Descriptor:
    """Write an image of the given uncompressed tars, lowest first, under the name ``ref``, and give its manifest."""
    manifest = put_image(layout, layers, config=config, compression=compression, platform=platform, docker=docker)
    return tag(layout, manifest, ref)


def demo_layers(architecture: str) -> list[bytes]:
    """Return the demo image's three tars: a base, a change and a deletion, and links with an attribute."""
    own = {"mtime": MTIME}
    app = {**own, "uid": 1000, "gid": 1000}
    base = Tar()
    for folder in ("bin", "etc", "home", "usr", "usr/bin", "srv"):
        base.directory(folder, **own)
    base.directory("home/app", **app).directory("tmp", mode=0o1777, **own)
    base.file("etc/passwd", b"root:x:0:0:root:/:/bin/hello\napp:x:1000:1000::/home/app:/bin/hello\n", **own)
    base.file("etc/group", b"root:x:0:\napp:x:1000:\nusers:x:100:app\n", **own)
    base.file("etc/motd", b"The first layer says this.\n", **own).file("etc/removed", b"gone\n", **own)
    base.file("bin/hello", hello(architecture), mode=0o755, **own)
    change = Tar().directory("etc", **own).file("etc/motd", MOTD, **own).whiteout("etc/removed")
    links = Tar().directory("srv", **own).file("srv/note", b"one file\n", xattrs={"user.note": "hello"}, **app)
    links.hardlink("srv/again", "srv/note", **app).symlink("srv/motd", "../etc/motd", **own)
    return [tar.to_bytes() for tar in (base, change, links)]


def put_image(
    layout: Path,
    layers: list[bytes],
    *,
    config: Mapping[str, object] | None = None,
    compression: str = "gzip",
    platform: Platform = PLATFORMS[0],
    docker: bool = False,
) -> Descriptor:
    """Write an image's blobs without a name, and give its manifest's descriptor with the platform."""
    blobs = [put_blob(layout, compress(tar, compression), layer_type(compression, docker=docker)) for tar in layers]
    diff_ids = [Digest.of(tar) for tar in layers]
    return put_documents(layout, blobs, diff_ids, config=config, platform=platform, docker=docker)


def put_documents(
    layout: Path,
    blobs: Sequence[Descriptor],
    diff_ids: Sequence[Digest],
    *,
    config: Mapping[str, object] | None = None,
    platform: Platform = PLATFORMS[0],
    docker: bool = False,
) -> Descriptor:
    """Write the two documents of an image whose layers are there, and give its manifest's descriptor likewise."""
    document = {
        "created": CREATED,
        "author": "tests/image_factory.py",
        "architecture": platform.architecture,
        "os": platform.os,
        **({"variant": platform.variant} if platform.variant else {}),
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": CREATED, "created_by": f"layer {n}"} for n in range(len(blobs))],
    }
    config_blob = put_document(layout, document, mediatypes.CONFIGS[docker])
    manifest = {
        "schemaVersion": 2,
        "mediaType": mediatypes.MANIFESTS[docker],
        "config": config_blob.to_json(),
        "layers": [blob.to_json() for blob in blobs],
    }
    found = put_document(layout, manifest, mediatypes.MANIFESTS[docker])
    return Descriptor(found.media_type, found.digest, found.size, platform)


def put_index(layout: Path, manifests: list[Descriptor], *, docker: bool = False) -> Descriptor:
    """Write an index of manifests, and give its descriptor."""
    media_type = mediatypes.INDEXES[docker]
    entries = [manifest.to_json() for manifest in manifests]
    return put_document(layout, {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}, media_type)


def put_document(layout: Path, document: object, media_type: str) -> Descriptor:
    """Write a JSON document as a blob, and give its descriptor."""
    return put_blob(layout, json.dumps(document, separators=(",", ":")).encode(), media_type)


def put_blob(layout: Path, data: bytes, media_type: str, *, algorithm: str = "sha256") -> Descriptor:
    """Write a blob, and give its descriptor."""
    digest = Digest.of(data, algorithm)
    path = layout / "blobs" / algorithm / digest.encoded
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Descriptor(media_type, digest, len(data))


def tag(layout: Path, target: Descriptor, ref: str) -> Descriptor:
    """Let the layout's name ``ref`` point to ``target``, and give ``target`` back."""
    layout.mkdir(parents=True, exist_ok=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    path = layout / "index.json"
    entries: list[dict[str, Any]] = json.loads(path.read_bytes())["manifests"] if path.exists() else []
    kept = [entry for entry in entries if entry.get("annotations", {}).get(REF_NAME) != ref]
    named = {**target.to_json(), "annotations": {REF_NAME: ref}}
    document = {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": [*kept, named]}
    path.write_text(json.dumps(document, separators=(",", ":")))
    return target


def read_blob(layout: Path, digest: Digest) -> bytes:
    """Return the bytes of a blob."""
    return (layout / "blobs" / digest.algorithm / digest.encoded).read_bytes()


def compress(data: bytes, compression: str) -> bytes:
    """Compress a tar with ``gzip``, ``zstd`` or ``none``, the same each time."""
    return _COMPRESSORS[compression](data)


def layer_type(compression: str, *, docker: bool = False) -> str:
    """Return the media type of a layer."""
    base, mark = (mediatypes.DOCKER_LAYER, ".") if docker else (mediatypes.OCI_LAYER, "+")
    return base if compression == "none" else f"{base}{mark}{compression}"


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(6, wbits=31)  # zlib's own gzip header has neither time nor name
    return packer.compress(data) + packer.flush()


_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "zstd": lambda data: zstandard.ZstdCompressor(level=3).compress(data),
    "none": bytes,
}

if __name__ == "__main__":
    written = write_demo_image(Path(sys.argv[1]), ref=(sys.argv[2:] or ["demo"])[0])
    sys.stdout.write(f"{written.digest}\n")
