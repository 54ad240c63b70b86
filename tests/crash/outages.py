"""Power cuts at the steps of a verb: what was said to be done is there at the next boot, the rest can be done again."""

import json
import os
from collections.abc import Sequence

from tests.crash.apart import forked
from tests.crash.laws import Laws
from tests.crash.power import Machine
from tests.crash.stage import WAYS, Stage, each, sampled, unheard
from tests.crash.supervisor import GO_ON, KILL, Call
from tests.crash.verbs import EMPTY, Job, Verb


def outages(stage: Stage, name: str, count: int | None) -> None:
    """Cut the power before call after call of a verb, and once when it is done; then hold the store against the laws.

    Args:
        stage: has the registry.
        name: of the verb.
        count: before how many calls, from all parts of the verb; None for each.
    """
    verb = WAYS[name]
    switched_off = _in_state(stage, verb)
    total = _outage(stage, verb, switched_off, 0)
    each(sampled(total, count, f"{name} power"), lambda at: _outage(stage, verb, switched_off, at))


def _in_state(stage: Stage, verb: Verb) -> Machine:
    """Return a machine, switched off, in the state from which a verb starts; to be copied."""
    machine = Machine(stage.folder / "-".join(["off", *(step.__name__ for step in verb.states)]))
    if not machine.folder.exists():
        machine.make()
        job = _job(stage, verb, machine)
        machine.boot(lambda: [forked(lambda step=step: step(job)) for step in verb.states])
    return machine


def _job(stage: Stage, verb: Verb, machine: Machine) -> Job:
    return Job(machine.root / "store", stage.reference, unheard, verb.driver)


def _outage(stage: Stage, verb: Verb, switched_off: Machine, at: int) -> int:
    """Cut the power before one call, or after all for 0; boot, look, and give the number of calls."""
    machine = switched_off.copy(stage.folder / "machine")
    job = _job(stage, verb, machine)
    calls, told = json.loads(machine.boot(lambda: _until(verb, job, machine, at)))
    try:
        machine.boot(lambda: _check(Laws(job, verb, stage.registry, stage.target), told))
    except AssertionError as error:
        error.add_note(f"power cut before call {at}; done: {told}")
        raise
    return int(calls)


def _until(verb: Verb, job: Job, machine: Machine, at: int) -> str:
    """Do what the verb does until the power is cut, and tell the number of calls and what was said to be done."""

    def judge(call: Call) -> int:
        if call.number != at:
            return GO_ON
        machine.cut()
        return KILL

    os.environ.update(verb.settings)
    for step in verb.here:
        forked(lambda step=step: step(job))
    ended = verb.supervised(job, judge)
    if not ended.killed:
        assert (ended.error, ended.foreign) == ("", "")
        machine.cut()
    # What was removed may come back, as rubbish: a removal is not waited for, since it is done again.
    return json.dumps([ended.calls, [word for word in ended.told if word != EMPTY]])


def _check(laws: Laws, told: Sequence[str]) -> None:
    os.environ.update(laws.verb.settings)
    laws.check(told)
