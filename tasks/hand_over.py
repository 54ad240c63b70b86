"""Step ``hand_over``: a runtime of this host gets the image, and says that it would use it."""

from prestow.handover import hand_over as engine
from prestow.handover.hand_over import HandOver
from prestow.oci.image import Image
from tasks.checkpoint import reached
from tasks.journal import recorded_step
from tasks.opened import open_node
from tasks.policy import step


@step(
    lambda name, runtime: f"hand over {name} ({runtime})",
    version=1,
    key=lambda name, image, runtime, pin, namespace: (
        f"{namespace} {name} {image.target.digest} {image.config.digest} {runtime} {pin}"
    ),
    hit=lambda home, name, image, runtime, pin, namespace: engine.is_handed_over(
        open_node(home, namespace), name, image, runtime, pin=pin
    ),
)
def hand_over(  # noqa: PLR0913 - Prefect shows each of them
    home: str,
    name: str,
    image: Image,
    runtime: str,
    pin: bool,  # noqa: FBT001 - a step's parameters are positional
    complete: object,  # noqa: ARG001 - orders the graph
    namespace: str | None = None,
    force: bool = False,  # noqa: FBT001, FBT002
) -> HandOver:
    """Hand ``image`` over to ``runtime`` under ``name``, without a network, unless it has it."""
    node, total = open_node(home, namespace), sum(layer.descriptor.size for layer in image.layers)
    with recorded_step("hand_over", name, total) as advance:
        result = engine.hand_over(node, name, image, runtime, pin=pin, force=force, progress=advance)
    reached("handed-over", node, name, image.target.digest)
    return result
