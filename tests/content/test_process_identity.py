"""Processes are known by boot, number and start time, and what they leave by their names."""

import json
import os
import subprocess
import sys

import pytest

from prestow.content.process_identity import Process, is_abandoned, owned_name, start_time
from tests.processes import Child


def test_this_process_lives() -> None:
    assert Process.current().alive()
    assert Process.current() == Process.current()


def test_what_is_noted_of_a_process_is_read_back_also_as_older_ones_noted_it() -> None:
    me = Process.current()
    document = json.loads(json.dumps(me.document()))

    assert Process.parse(document) == me
    del document["namespace"]
    assert Process.parse(document) == me


def test_a_forked_child_is_another_process() -> None:
    me = Process.current()
    child = os.fork()
    if child == 0:
        os._exit(Process.current() == me)
    assert os.waitpid(child, 0)[1] == 0


def test_who_has_ended_but_was_not_waited_for_has_ended() -> None:
    child = Child([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = Process(Process.current().boot_id, child.pid, start_time(child.pid) or 0)
    assert process.alive()

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert not process.alive()
    child.communicate()


def test_another_process_with_the_same_number_is_not_the_one() -> None:
    me = Process.current()

    assert not me._replace(started=me.started - 1).alive()
    assert not me._replace(boot_id="00000000-0000-0000-0000-000000000000").alive()
    assert not me._replace(boot_id="").alive()


def test_a_number_that_nobody_has_is_no_process() -> None:
    assert start_time(2**30) is None
    assert not Process.current()._replace(pid=2**30).alive()


IN_ANOTHER_NAMESPACE = """
import sys
from prestow.content.process_identity import Process
me = Process.current()
print(me.boot_id, me.pid, me.started, me.namespace, flush=True)
boot, *numbers = sys.argv[1:]
caller = Process(boot, *map(int, numbers))
print(caller.alive(), caller.ended(), flush=True)
sys.stdin.read()
"""


def test_a_process_of_another_pid_namespace_is_neither_known_to_live_nor_to_have_ended() -> None:
    me = Process.current()
    known = map(str, (me.boot_id, me.pid, me.started, me.namespace))
    command = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", sys.executable, "-c"]
    with Child(
        [*command, IN_ANOTHER_NAMESPACE, *known], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        boot, *numbers = child.stdout.readline().split()
        other = Process(boot, *map(int, numbers))

        assert other.pid == 1
        assert (other.alive(), other.ended()) == (False, False)
        assert child.stdout.readline() == "False False\n"

    assert (other.alive(), other.ended()) == (False, False)
    assert other._replace(boot_id="00000000-0000-0000-0000-000000000000").ended()


def named_by_a_child() -> str:
    """Return a name that a process made which has ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, owned_name("a.thing").encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        name = told.read()
    os.waitpid(child, 0)
    return name


def test_what_a_dead_process_made_is_abandoned() -> None:
    name = named_by_a_child()

    assert name.startswith("a.thing.")
    assert is_abandoned(name)


def test_what_this_process_makes_is_not_and_never_bears_the_same_name() -> None:
    names = {owned_name(".x") for _ in range(100)}

    assert len(names) == 100
    assert not any(map(is_abandoned, names))


def test_after_a_reboot_everything_is_abandoned() -> None:
    stem, token, boot, namespace, pid, started = owned_name("look").split(".")

    assert is_abandoned(f"{stem}.{token}.another-boot.{namespace}.{pid}.{started}")
    assert is_abandoned(f"{stem}.{token}.{boot}.{namespace}.{pid}.{int(started) - 1}")
    assert not is_abandoned(f"{stem}.{token}.{boot}.1.{pid}.{int(started) - 1}"), "of another PID namespace"


@pytest.mark.parametrize("name", ["", "a", ".index.json.0a1b", "a.b.c.d.e", "x.y.z.1.", "x.y.boot.1.1.0", "x.y..1.1.2"])
def test_what_does_not_say_whose_it_is_stays(name: str) -> None:
    assert not is_abandoned(name)
