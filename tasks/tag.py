"""Step ``tag``, the last of a pull: the name points to the image."""

from prestow.metadata import tag as engine
from prestow.metadata.images import ImageRecord
from prestow.oci.descriptor import Descriptor
from prestow.reference import canonical_source
from prestow.store.node import open_node
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.policy import step


@step(
    lambda name: f"tag {name}",
    version=4,
    key=lambda name, reference, target, namespace: f"{namespace} {name} {reference} {target.digest}",
    hit=lambda home, name, reference, target, namespace: engine.is_tagged(
        open_node(home, namespace).images, open_node(home).content, name, target, source=canonical_source(reference)
    ),
)
def tag(
    home: str,
    name: str,
    reference: str,
    target: Descriptor,
    complete: tuple[object, ...],  # noqa: ARG001 - orders the graph
    namespace: str | None = None,
) -> ImageRecord:
    """Let ``name`` point to ``target``, of which everything is in the store by now; ``reference`` is its source."""
    node, source = open_node(home, namespace), canonical_source(reference)
    with recorded_step("tag", name):
        record = engine.tag(node.database, node.content, name, target, source=source, namespace=node.namespace)
    reached("tagged", node, name, target.digest)
    return record
