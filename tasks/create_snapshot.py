"""Step ``create_snapshot``: the writable snapshot of one container, the runtime snapshot."""

from prestow.snapshots import create as engine
from prestow.snapshots.commit import Committed
from prestow.snapshots.create import Created
from prestow.store.node import open_node
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.policy import step


@step(lambda container_id: f"create snapshot {container_id}", version=1)
def create_snapshot(home: str, name: str, container_id: str, committed: Committed) -> Created:
    """Prepare an active snapshot on the image's chain ID; the same container on the same image is success."""
    node = open_node(home)
    with recorded_step("create_snapshot", container_id):
        created = engine.create_snapshot(node.snapshotter(committed.driver), container_id, committed.chain_id)
    reached("snapshot-created", node, name, committed.chain_id)
    return created
