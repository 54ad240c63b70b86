"""Orders of the fleet for one host, and images for them in a registry of the test."""

from typing import Any

from flows.prepull import prepull
from prestow.fleet.order import Order
from prestow.metadata.leases import Lease
from prestow.store.node import Node, open_node
from tests.image_factory import put_image, tag
from tests.registries import FaultRegistry
from tests.tar_builder import Tar

ROLLOUT = "5f3c0000-0000-0000-0000-000000000001"


def order(home: str, generation: int = 1, *, of: str = "nightly", **values: Any) -> Order:
    """Return an order for the host of a store."""
    host = values.pop("host", open_node(home).host)
    return Order(host=host, set=of, generation=generation, rollout=ROLLOUT, **values)


def locked(registry: FaultRegistry, name: str, text: str = "", size: int = 0) -> str:
    """Put an image of one file into a registry, and return its reference as a lock has it: with tag and digest."""
    repository, _, version = name.partition(":")
    layer = Tar().file("text", (text or name).encode() + bytes(size)).to_bytes()
    target = tag(registry.layout, put_image(registry.layout, [layer]), version)
    return f"{registry.domain}/{repository}:{version}@{target.digest}"


def delivered(home: str, images: list[str], generation: int = 1, **values: Any) -> None:
    """Carry an order out, as a run of the flow in this process."""
    prepull(images, home=home, order=order(home, generation, **values))


def names(home: str) -> dict[str, str]:
    """Return the names in a store without their registry, and the digests that they stand for."""
    return {record.name.partition("/")[2]: str(record.target.digest) for record in open_node(home).images.list()}


def pins(node: Node) -> dict[str, tuple[Lease, ...]]:
    """Return the leases of sets by the digest that they protect first of all."""
    found: dict[str, tuple[Lease, ...]] = {}
    for lease in node.leases.list():
        for digest in node.leases.resources(lease.id)["content"]:
            found[digest] = (*found.get(digest, ()), lease)
    return found
