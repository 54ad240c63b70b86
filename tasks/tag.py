"""Step ``tag``, the last of a pull: the name points to the image."""

from prestow.metadata import tag as engine
from prestow.metadata.images import ImageRecord
from prestow.node import open_node
from prestow.oci.descriptor import Descriptor
from prestow.snapshots.commit import Committed
from tasks.checkpoint import reached
from tasks.journal import noted
from tasks.policy import step


@step(
    lambda name: f"tag {name}",
    version=2,
    key=lambda name, target, namespace: f"{namespace} {name} {target.digest}",
    hit=lambda home, name, target, namespace: open_node(home, namespace).is_tagged(name, target),
)
def tag(
    home: str,
    name: str,
    target: Descriptor,
    committed: Committed,  # noqa: ARG001 - orders the graph
    namespace: str | None = None,
) -> ImageRecord:
    """Let ``name`` point to ``target``, of which everything is in the store by now."""
    node = open_node(home, namespace)
    with noted("tag", name):
        record = engine.tag(node.database, node.content, name, target, namespace=node.namespace)
    reached("tagged", node, name, target.digest)
    return record
