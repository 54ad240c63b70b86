"""Step ``resolve``: from a reference to the descriptor of what it names now."""

from prestow.oci.descriptor import Descriptor
from prestow.reference import parse_source
from prestow.registry import resolve as engine
from tasks.checkpoint import reached
from tasks.journal import note_answers, recorded_step
from tasks.opened import open_node
from tasks.policy import step


@step(lambda reference: f"resolve {reference}", version=1)
def resolve(home: str, name: str, reference: str, credentials: str | None = None) -> Descriptor:
    """Ask the source; a tag is always asked, a digest only if its blob is not in the store."""
    node = open_node(home)
    source = node.source(reference, credentials)
    with recorded_step("resolve", reference):
        target = engine.resolve(source, node.content, parse_source(reference))
    note_answers(source)
    reached("resolved", node, name, target.digest)
    return target
