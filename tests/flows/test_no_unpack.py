"""A pull without unpacking: artifacts of any kind, and images for later."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.bundle import bundle
from flows.prepull import prepull
from flows.prune import prune
from flows.pull import pull
from prestow.digest import Digest
from prestow.errors import ExhaustedError, InvalidError, MismatchError, NotFoundError, UnsupportedError
from prestow.fsck.image import fsck_image
from prestow.fsck.repair import repair_image
from prestow.fsck.run import fsck
from prestow.metadata.tag import untag
from prestow.oci.artifact import Artifact
from prestow.oci.descriptor import Descriptor
from prestow.oci.lookup import find_artifact
from prestow.registry.server.listener import Server
from prestow.store.node import Node, open_node
from tests.artifacts import KINDS, helm_chart, index_of_artifacts, indexes, not_tars, write_artifact
from tests.image_factory import put_image, put_index, read_blob, tag
from tests.registries import Fault, FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def target(request: pytest.FixtureRequest, fault_registry: FaultRegistry) -> Descriptor:
    kind: Callable[[Path], Descriptor] = request.param
    return write_artifact(fault_registry.layout, kind)


@pytest.fixture
def reference(fault_registry: FaultRegistry) -> str:
    return f"{fault_registry.domain}/team/thing:artifact"


def parts(artifact: Artifact) -> list[Descriptor]:
    return [*artifact.manifests, *(blob.descriptor for blob in artifact.blobs)]


def held(node: Node, target: Descriptor, layout: Path) -> Artifact:
    """What of a target is here, after a look at each byte of it."""
    artifact = find_artifact(node.content, target)
    for part in (target, *parts(artifact)):
        node.content.check(part.digest)
        assert node.content.path(part.digest).read_bytes() == read_blob(layout, part.digest)
    return artifact


def test_an_artifact_is_stored_named_kept_verified_and_collected(
    home: str, fault_registry: FaultRegistry, target: Descriptor, reference: str
) -> None:
    pulled = pull(reference, home=home, unpack=False)

    node = open_node(home)
    artifact = held(node, target, fault_registry.layout)
    assert (pulled.checkpoint, pulled.digest) == ("tagged", target.digest)
    assert {layer.digest for layer in pulled.layers} == {str(blob.descriptor.digest) for blob in artifact.blobs}
    assert {layer.state for layer in pulled.layers} == {"stored"}
    assert node.snapshots() == []

    assert prune(home=home).removed == ()
    held(node, target, fault_registry.layout)
    found = fsck(node, None)
    assert (found.damaged, [image.found.damaged for image in found.images]) == (0, [()])
    assert found.images[0].found.blobs == len(list(node.content.walk()))

    asked = len(fault_registry.requests("/blobs/|/manifests/sha"))
    assert pull(reference, home=home, unpack=False).fetched_bytes == 0
    assert len(fault_registry.requests("/blobs/|/manifests/sha")) == asked

    untag(node.database, node.content, node.image(reference).name)
    prune(home=home)
    assert list(node.content.walk()) == []


def test_each_part_that_is_corrupt_or_lost_is_found_and_fetched_again(
    home: str, fault_registry: FaultRegistry, target: Descriptor, reference: str
) -> None:
    pull(reference, home=home, unpack=False)
    node = open_node(home)
    record = node.image(reference)

    for part in parts(held(node, target, fault_registry.layout)):
        path = node.content.path(part.digest)
        path.chmod(0o600)
        path.write_bytes(b"rotten")
        assert {damage.name for damage in fsck_image(node, record).damaged} == {part.digest}
        assert repair_image(node, record).left == ()
        held(node, target, fault_registry.layout)
    for blob in find_artifact(node.content, target).blobs:
        node.content.path(blob.descriptor.digest).unlink()
        assert [damage.what for damage in fsck_image(node, record).damaged] == ["missing"]
        assert repair_image(node, record).left == ()
    held(node, target, fault_registry.layout)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not indexes])  # skopeo knows no index in an index
def test_skopeo_copies_it_from_serve(
    home: str,
    fault_registry: FaultRegistry,
    kind: Callable[[Path], Descriptor],
    reference: str,
    tmp_path: Path,
) -> None:
    target = write_artifact(fault_registry.layout, kind)
    pull(reference, name="team/thing:1", home=home, unpack=False)
    node = open_node(home)

    with Server(("127.0.0.1", 0), lambda name: node.image(name).target, node.content) as server:
        source = f"docker://127.0.0.1:{server.address[1]}/team/thing:1"
        copy = ["skopeo", "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false", source]
        subprocess.run([*copy, f"dir:{tmp_path}/copy"], check=True)

    for blob in find_artifact(node.content, target).blobs:
        digest = blob.descriptor.digest
        assert (tmp_path / "copy" / digest.encoded).read_bytes() == read_blob(fault_registry.layout, digest)


def test_a_pull_a_bundle_and_a_run_say_what_it_is_and_what_to_do(
    home: str, target: Descriptor, reference: str, tmp_path: Path
) -> None:
    refused = pytest.raises(UnsupportedError, match=r"not a container image .* --no-unpack")
    if target.digest == write_artifact(tmp_path, not_tars).digest:  # by its types it is an image, but a broken one
        refused = pytest.raises(InvalidError, match=r"image config .* is missing")
    with refused:
        pull(reference, home=home)
    assert open_node(home).images.list() == ()

    pull(reference, home=home, unpack=False)

    for attempt in ("never", "missing", "always"):
        with refused:
            bundle(reference, str(tmp_path / "bundle"), copied=True, pull=attempt, home=home)


@pytest.mark.parametrize("keep_blobs", ["true", "false"])
def test_an_image_that_was_stored_is_unpacked_later_and_nothing_is_fetched_for_that(
    home: str, fault_registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keep_blobs: str
) -> None:
    monkeypatch.setenv("PRESTOW_KEEP_BLOBS", keep_blobs)
    reference = f"{fault_registry.domain}/team/demo:demo"
    stored = pull(reference, home=home, unpack=False)
    node = open_node(home)
    blobs = [Digest(layer.digest) for layer in stored.layers]
    assert all(map(node.content.has, blobs))
    assert prune(home=home).removed == ()
    assert fsck(node, None).damaged == 0
    asked = len(fault_registry.requests("/blobs/"))

    pulled = pull(reference, home=home)

    assert (pulled.checkpoint, pulled.fetched_bytes) == ("tagged", 0)
    assert [layer.state for layer in pulled.layers] == ["applied"] * 3
    assert len(fault_registry.requests("/blobs/")) == asked
    assert [node.content.has(Digest(layer.digest)) for layer in pulled.layers] == [keep_blobs == "true"] * 3
    bundle(reference, str(tmp_path / "bundle"), copied=True, home=home)

    again = pull(reference, home=home, unpack=False)  # asked for as it is, it is here as it is

    assert all(map(node.content.has, blobs))
    assert again.fetched_bytes == (0 if keep_blobs == "true" else pulled.reused_bytes)
    assert fsck(node, None).damaged == 0


def test_a_lost_layer_of_an_image_that_was_stored_is_found_and_fetched_again(
    home: str, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.domain}/team/demo:demo"
    stored = pull(reference, home=home, unpack=False)
    node = open_node(home)
    node.content.path(Digest(stored.layers[1].digest)).unlink()

    assert [damage.name for damage in fsck_image(node, node.image(reference)).damaged] == [stored.layers[1].digest]
    assert repair_image(node, node.image(reference)).left == ()
    assert node.content.has(Digest(stored.layers[1].digest))


def test_a_bundle_unpacks_an_image_that_was_stored(home: str, fault_registry: FaultRegistry, tmp_path: Path) -> None:
    reference = f"{fault_registry.domain}/team/demo:demo"
    pull(reference, home=home, unpack=False)
    asked = len(fault_registry.requests())

    bundle(reference, str(tmp_path / "bundle"), copied=True, pull="missing", home=home)

    assert (tmp_path / "bundle/rootfs/etc/motd").exists()
    assert len(fault_registry.requests()) == asked


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_of_an_index_with_platforms_one_is_stored(home: str, fault_registry: FaultRegistry, architecture: str) -> None:
    pulled = pull(f"{fault_registry.domain}/demo:demo", f"linux/{architecture}", home=home, unpack=False)

    content = open_node(home).content
    assert pulled.platform == f"linux/{architecture}"
    assert len(list(content.walk())) == len({pulled.digest, pulled.manifest_digest, *(b.digest for b in pulled.layers)})
    with pytest.raises(NotFoundError, match="linux/s390x"):
        pull(f"{fault_registry.domain}/demo:demo", "linux/s390x", home=home, unpack=False)


def test_an_index_whose_entries_have_platforms_in_part_is_pulled_for_one(
    home: str, fault_registry: FaultRegistry
) -> None:
    layout = fault_registry.layout
    image = put_image(layout, [b"\0" * 1024])
    tag(layout, put_index(layout, [helm_chart(layout), image]), "mixed")

    assert pull(f"{fault_registry.domain}/team:mixed", home=home, unpack=False).manifest_digest == image.digest


def test_it_stops_and_resumes_as_any_pull_but_not_where_it_does_not_come(
    home: str, fault_registry: FaultRegistry, reference: str
) -> None:
    write_artifact(fault_registry.layout, index_of_artifacts)
    for checkpoint in ("resolved", "manifest-stored", "layer-fetched", "layer-stored"):
        assert pull(reference, stop_after=checkpoint, home=home, unpack=False).checkpoint == checkpoint
        assert open_node(home).images.list() == ()
        assert prune(home=home).removed == ()
    pull(reference, home=home, unpack=False)
    blobs = [seen.path for seen in fault_registry.requests("/blobs/", "GET")]
    assert len(blobs) == len(set(blobs)) > 0

    for where in ("stop_after", "hold_after"):
        with pytest.raises(InvalidError, match="without unpacking does not reach 'unpacked'"):
            pull(reference, home=home, unpack=False, **{where: "unpacked"})


def test_many_are_stored_and_the_index_of_names_tells_of_them(
    home: str, fault_registry: FaultRegistry, reference: str
) -> None:
    write_artifact(fault_registry.layout, helm_chart)

    result = prepull([reference, f"{fault_registry.domain}/team/demo:demo"], home=home, unpack=False)

    assert result.failed == 0
    assert open_node(home).snapshots() == []
    entries = json.loads((Path(home) / "content/index.json").read_bytes())["manifests"]
    assert {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries} == {
        image.name for image in result.images
    }


def test_what_is_too_large_is_refused_before_a_blob_is_fetched(
    home: str, fault_registry: FaultRegistry, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_artifact(fault_registry.layout, helm_chart)
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", str(1 << 60))

    with pytest.raises(ExhaustedError, match="does not fit"):
        pull(reference, home=home, unpack=False)
    assert fault_registry.requests("/blobs/") == []


def test_wrong_bytes_are_neither_stored_nor_named(home: str, fault_registry: FaultRegistry, reference: str) -> None:
    target = write_artifact(fault_registry.layout, helm_chart)
    config = json.loads(read_blob(fault_registry.layout, target.digest))["config"]
    fault_registry.on(f"/blobs/{config['digest']}", Fault(body=bytes(config["size"])))

    with pytest.raises(MismatchError):
        pull(reference, home=home, unpack=False)

    assert open_node(home).images.list() == ()
    assert not open_node(home).content.has(Digest(config["digest"]))
