"""A server is idle while nobody asks it for anything, and not for as long as somebody listens to it."""

import types
from collections.abc import Iterator
from typing import Any

import pytest

from flows.local_server.idle import Idle


async def forever(_scope: Any, receive: Any, _send: Any) -> None:
    await receive()


@types.coroutine
def _nothing() -> Iterator[None]:
    """Something that comes only when it is closed."""
    yield


def _asked(idle: Idle, kind: str) -> Any:
    """Begin a request; it goes on until it is closed."""
    coroutine: Any = idle({"type": kind}, _nothing, None)  # type: ignore[arg-type]
    coroutine.send(None)
    return coroutine


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_it_is_idle_from_the_end_of_the_last_request(kind: str) -> None:
    now = [100.0]
    idle = Idle(forever, lambda: now[0])
    now[0] += 5
    assert idle.seconds() == 5

    one, other = _asked(idle, kind), _asked(idle, kind)
    now[0] += 5
    one.close()
    assert idle.seconds() == 0
    other.close()
    assert idle.seconds() == 0
    now[0] += 3
    assert idle.seconds() == 3


def test_the_life_of_the_application_is_no_use_of_it() -> None:
    now = [100.0]
    idle = Idle(forever, lambda: now[0])
    life = _asked(idle, "lifespan")
    now[0] += 7

    assert idle.seconds() == 7
    life.close()
