"""Step ``examine``: verify what is stored, and repair it."""

from prestow.fsck import run as engine
from prestow.fsck.run import Examined
from prestow.store.node import open_node
from tasks.journal import noted
from tasks.orphans import log_orphans
from tasks.policy import step


@step(lambda name, mend: f"{'repair' if mend else 'verify'} {name or 'the store'}", version=1)
def examine(home: str, namespace: str, name: str | None, mend: bool) -> Examined:  # noqa: FBT001 - a step's parameters are positional
    """Hash and compare everything that is stored of an image, or of all and of the store's own books."""
    node = open_node(home, namespace)
    with noted("examine", name or node.store_id):
        examined = engine.examine(node, name, mend=mend)
    log_orphans(examined.orphaned)
    return examined
