"""Step ``sweep``: mark what names, containers and leases hold, and remove the rest."""

from prestow.gc.prune import Choice, Pruned, prune
from prestow.store.node import open_node
from tasks.journal import recorded_step
from tasks.orphans import log_orphans
from tasks.policy import step


@step(lambda dry_run: "sweep (dry run)" if dry_run else "sweep", version=1)
def sweep(home: str, choice: Choice, dry_run: bool) -> Pruned:  # noqa: FBT001 - a step's parameters are positional
    """Collect the garbage of the store."""
    node = open_node(home)
    with recorded_step("sweep", node.store_id):
        pruned = prune(node, choice, dry_run=dry_run)
    log_orphans(pruned.orphaned)
    return pruned
