"""Step ``wave``: a wave of a rollout, from the first run that it makes to the verdict on its last host."""

from collections.abc import Sequence
from typing import Protocol

from prestow.fleet.verdict import HostVerdict
from prestow.fleet.waves import Wave
from tasks.policy import step


class Fleet(Protocol):
    """Where waves run: the hosts of a rollout."""

    def run(self, wave: Wave) -> Sequence[HostVerdict]:
        """Bring a wave to its end, and return the verdict on each of its hosts."""


@step(lambda wave: f"wave {wave.number} of {wave.of} · {len(wave.hosts)} hosts", version=1)
def wave(home: str, wave: Wave, fleet: Fleet) -> tuple[HostVerdict, ...]:  # noqa: ARG001 - each step has its store
    """Bring a wave to its end: its hosts' runs are children of this task run."""
    return tuple(fleet.run(wave))
