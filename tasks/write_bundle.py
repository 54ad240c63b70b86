"""Step ``write_bundle``: the folder from which a runtime starts the container."""

from pathlib import Path

from prestow.containers import create as engine
from prestow.containers.create import Written
from prestow.oci.image import Image
from prestow.runtime.spec import Spec
from prestow.snapshots.create import Created
from prestow.store.node import open_node
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.policy import step


@step(lambda container_id: f"write bundle {container_id}", version=1)
def write_bundle(  # noqa: PLR0913 - all that a bundle is made of
    home: str,
    name: str,
    container_id: str,
    image: Image,
    spec: Spec,
    created: Created | None,
    directory: Path,
    namespace: str | None = None,
) -> Written:
    """Mount or copy the root file system, write ``config.json``, and note the container."""
    node = open_node(home, namespace)
    with recorded_step("write_bundle", container_id):
        written = engine.write(node, engine.Container(container_id, name, image, created), spec, directory)
    reached("bundled", node, name, image.manifest.digest)
    return written
