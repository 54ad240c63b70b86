"""Names tell whose a thing is: only what surely belongs to a dead process is abandoned."""

import os

import pytest

from prestow.content.owned import is_abandoned, owned_name


def named_by_a_child() -> str:
    """Give a name that a process made which has ended."""
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
