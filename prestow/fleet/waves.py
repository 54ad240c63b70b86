"""The waves of a rollout: which hosts get their runs together.

seed: 1, waves: [10%, 50%]        of 20 hosts, in the order in which they are given
1 host   1 host   8 hosts   10 hosts
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from prestow.fleet.file import Rollout


@dataclass(frozen=True, slots=True)
class Wave:
    """Hosts whose runs are made together.

    Attributes:
        number: from 1.
        of: how many waves the rollout has.
    """

    number: int
    of: int
    hosts: tuple[str, ...]


def waves(hosts: Sequence[str], rollout: Rollout) -> tuple[Wave, ...]:
    """Divide hosts into waves, in the order in which they are given: the first ones are the first wave.

    So the order of the fleet file chooses the hosts that go first. A share is of all hosts and counts those of the
    waves before; a wave that would have no host is left out. A host that is given twice counts once.
    """
    names = tuple(dict.fromkeys(hosts))
    shares = [rollout.seed, *rollout.waves] if rollout.seed is not None else rollout.waves
    asked = [share.of(len(names)) for share in shares] + [len(names)]
    ends = list(dict.fromkeys([0, *accumulate(asked, max)]))
    return tuple(Wave(number, len(ends) - 1, names[begin:end]) for number, (begin, end) in enumerate(pairwise(ends), 1))
