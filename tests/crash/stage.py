"""The stage: an image in a registry, stores in the states from which verbs start, and one attempt after the other."""

import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prestow.oci.descriptor import Descriptor
from tests.crash.apart import apart, forked
from tests.crash.commands import COMMANDS
from tests.crash.laws import Laws
from tests.crash.supervisor import GO_ON, Call, Ended
from tests.crash.verbs import VERBS, Job, Verb, bundle, clear, damage, end, pull, repair, store, tag, unpack
from tests.image_factory import demo_layers, write_image
from tests.registries import DockerRegistry
from tests.tar_builder import Tar

Judge = Callable[[Call], int]
Check = Callable[[Laws, Ended], object]

WAYS: Mapping[str, Verb] = {**VERBS, **COMMANDS}
"""What attempts are made at, by name."""

_CONFIG = {"Entrypoint": ["/bin/hello"], "User": "app"}
_LARGE = 300_000
_SHOWN = 3


def push_image(registry: DockerRegistry, folder: Path) -> tuple[str, Descriptor]:
    """Put a small image into a registry, with a layer that comes in several pieces; give its reference and target."""
    large = Tar().file("srv/large", random.Random(4).randbytes(_LARGE)).file("srv/small", b"x")
    target = write_image(folder, [*demo_layers("amd64"), large.to_bytes()], config=_CONFIG, ref="crash")
    return registry.push(folder, "crash", "crash/image:1"), target


def sampled(total: int, count: int | None, seed: str) -> Iterable[int]:
    """Return one number from each of so many equal parts of 1 to ``total``, by a seed; all numbers for None."""
    if count is None or count >= total:
        return range(1, total + 1)
    dice = random.Random(seed)
    edges = [1 + total * part // count for part in range(count + 1)]
    return [dice.randrange(*part) for part in itertools.pairwise(edges)]


def each(numbers: Iterable[int], attempt: Callable[[int], object]) -> None:
    """Make all attempts, and then tell of those that failed.

    Raises:
        AssertionError: with what the first ones found.
    """
    failed: dict[int, str] = {}
    for number in numbers:
        try:
            attempt(number)
        except AssertionError as error:
            failed[number] = str(error)
    assert not failed, f"at {[*failed]}; the first:\n" + "\n".join([*failed.values()][:_SHOWN])


@dataclass(slots=True)
class Stage:
    """Where attempts take place.

    Attributes:
        folder: stores and their states.
        registry: has the image.
        reference: of the image.
        target: what that stands for.
    """

    folder: Path
    registry: DockerRegistry
    reference: str
    target: Descriptor
    _totals: dict[tuple[str, bool], int] = field(default_factory=dict)

    def attempts(self, name: str, count: int | None, fate: int, check: Check, *, reading: bool = False) -> None:
        """Let a verb meet its fate before call after call, and look each time at what is left.

        Args:
            name: of the verb.
            count: before how many calls, from all parts of the verb; None for each.
            fate: ``KILL``, or the number of an error.
            check: looks at the store and at how the verb ended.
            reading: whether calls that only read count, too.
        """
        verb = WAYS[name]

        def attempt(judge: Judge) -> str:
            return apart(lambda: self._attempt(verb, judge, check, reading=reading))

        if (name, reading) not in self._totals:
            self._totals[name, reading] = int(attempt(lambda _: GO_ON))
        numbers = sampled(self._totals[name, reading], count, f"{name} {fate}")
        each(numbers, lambda at: attempt(lambda call: fate if call.number == at else GO_ON))

    def _attempt(self, verb: Verb, judge: Judge, check: Check, *, reading: bool) -> int:
        """Make one attempt on a fresh store, and give the number of calls."""
        os.environ.update(verb.settings)
        home = self.folder / "store"
        shutil.rmtree(home, ignore_errors=True)
        if verb.states:
            shutil.copytree(self._state(verb.states), home, symlinks=True)
        job = Job(home, self.reference, unheard, verb.driver)
        for step in verb.here:
            forked(lambda step=step: step(job))
        ended = verb.supervised(job, judge, reading=reading)
        assert ended.foreign == "", ended.foreign
        try:
            check(Laws(job, verb, self.registry, self.target), ended)
        except BaseException as error:
            error.add_note(f"{ended.last}; {ended.error or 'no error'}; done: {ended.told}")
            raise
        return ended.calls

    def _state(self, steps: Sequence[Callable[[Job], None]]) -> Path:
        """Return a store that so many steps were done on, to be copied; made when it is first asked for."""
        place = self.folder / "-".join(["state", *(step.__name__ for step in steps)])
        if not place.exists():
            job = Job(place, self.reference, unheard)
            apart(lambda: [step(job) for step in steps])
        return place

    @property
    def warmed(self) -> Path:
        """The store of this process."""
        return self.folder / "warm"

    def warm(self) -> None:
        """Do everything once in this process, so that nothing is imported later on."""
        job = Job(self.warmed, self.reference, unheard)
        for step in (pull, bundle, end, tag, damage, repair, clear, store, unpack, clear):
            step(job)


def unheard(_: str) -> None:
    """Do nothing."""
