"""Step ``fsck``: find what is damaged in a store, and repair it."""

from prestow.fsck import run as engine
from prestow.fsck.run import FsckResult
from tasks.journal import recorded_step
from tasks.opened import open_node
from tasks.orphans import log_orphans
from tasks.policy import step


@step(lambda name, repair: f"{'repair' if repair else 'check'} {name or 'the store'}", version=1)
def fsck(
    home: str,
    namespace: str,
    name: str | None,
    repair: bool,  # noqa: FBT001 - a step's parameters are positional
    credentials: str | None = None,
) -> FsckResult:
    """Hash and compare everything that is stored of an image, or of all and of the store's own records."""
    node = open_node(home, namespace)
    with recorded_step("fsck", name or node.store_id):
        result = engine.fsck(node, name, repair=repair, credentials=credentials)
    log_orphans(result.orphaned)
    return result
