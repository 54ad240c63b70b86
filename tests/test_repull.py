"""What a pull of an image costs the engine that is complete: one question to its registry, none where it is pinned."""

from pathlib import Path

from prestow.content.plan import LayerState, plan, replacement
from prestow.content.verify import verify
from prestow.layers.apply import apply
from prestow.metadata.tag import tag
from prestow.platforms import host
from prestow.reference import image_name, parse_source
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.registry.resolve import resolve
from prestow.snapshots.commit import commit_snapshots
from prestow.store.node import Node, open_node
from tests.registries import FaultRegistry


def pull(node: Node, reference: str) -> None:
    """Pull with the engine's own functions; as in a flow, what is applied is not applied again."""
    source = node.source(reference)
    target = resolve(source, node.content, parse_source(reference))
    image = fetch_manifest(source, node.content, target, host(), max_layers=node.settings.max_layers)
    for layer in (at.layer for at in plan(image, node.content).layers if at.state is not LayerState.APPLIED):
        unless = replacement(layer, keep_blobs=node.settings.keep_blobs)
        fetch_blob(source, node.content, layer.descriptor, unless=unless)
        verify(node.content, layer.descriptor, unless=unless)
        apply(node.content, layer, scans=node.scans, keep_blob=node.settings.keep_blobs)
    commit_snapshots(node.snapshotter(), image)
    tag(node.database, node.content, image_name(reference, None), target, namespace=node.namespace)
    node.close()


def test_a_complete_image_costs_one_question_and_none_by_its_digest(
    fault_registry: FaultRegistry, tmp_path: Path
) -> None:
    node = open_node(tmp_path / "store")
    name = f"{fault_registry.domain}/app:demo"
    pull(node, name)
    assert len(fault_registry.seen) > 3

    fault_registry.seen.clear()
    pull(node, name)
    assert [(seen.method, seen.path) for seen in fault_registry.seen] == [("HEAD", "/v2/app/manifests/demo")]

    fault_registry.seen.clear()
    pull(node, f"{fault_registry.domain}/app@{node.image(name).target.digest}")
    assert fault_registry.seen == []
