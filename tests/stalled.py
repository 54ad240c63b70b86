"""A pull that hangs: the registry gives the first 300 bytes of one layer, and the others whole."""

from dataclasses import dataclass

from flows.pull import pull
from prestow.content.refs import layer_ref
from prestow.digest import Digest
from prestow.store.node import open_node
from tests.prefect_records import until
from tests.registries import Fault, FaultRegistry

_PART = 300


@dataclass(frozen=True, slots=True)
class Stalled:
    """The image, the layer that hangs, and the digests of those that do not."""

    registry: FaultRegistry
    home: str
    reference: str
    layer: str
    others: tuple[str, ...]

    def wait(self) -> None:
        """Wait until the store has as much as the registry gives: then nothing else is half done."""
        content = open_node(self.home).content

        def complete() -> list[int]:
            status = content.status(layer_ref(self.layer))
            stored = all(content.has(Digest(other)) for other in self.others)
            return [_PART] if stored and status is not None and status.offset == _PART else []

        until(complete, 1, f"a part of {self.layer}, and the other layers")

    def recover(self) -> None:
        """Let the registry give everything."""
        self.registry._rules.clear()

    def check(self) -> None:
        """No blob that was complete was fetched again, and the other one from where it was."""
        blobs = [seen.path for seen in self.registry.requests("/blobs/", "GET")]
        assert {path for path in blobs if blobs.count(path) > 1} == {path for path in blobs if self.layer in path}
        assert self.registry.requests(self.layer)[-1].headers.get("Range") == f"bytes={_PART}-"


def stalled(registry: FaultRegistry, home: str) -> Stalled:
    """Let the lowest layer of an image hang."""
    reference = f"{registry.own}/demo:demo"
    first, *others = pull(reference, stop_after="manifest-stored", home=home).layers
    registry.on(f"/blobs/{first.digest}", Fault(stall_after=_PART))
    return Stalled(registry, home, reference, first.digest, tuple(other.digest for other in others))
