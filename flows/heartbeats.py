"""Heartbeats of a deployed run, without the second that Prefect's own loop adds to the end of each flow.

Prefect's thread sleeps a second at a time, and the flow waits for it; ours waits for an event. How often is Prefect's
setting, ``PREFECT_FLOWS_HEARTBEAT_FREQUENCY``: each 180 s by default. What sees that they are missing is
``flows.dead_runs``.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any


def end_at_once() -> None:
    """Let the flows of this process send heartbeats by our loop (names checked for Prefect 3.8 and 3.9)."""
    from prefect import flow_engine

    flow_engine._send_heartbeats = _send_heartbeats  # noqa: SLF001 - the point


@contextmanager
def _send_heartbeats(engine: Any, join_on_exit: bool = True) -> Iterator[None]:  # noqa: ARG001 - Prefect's signature
    """Send the heartbeats of a flow run for as long as this block lasts."""
    seconds = engine.heartbeat_seconds
    if seconds is None:
        yield
        return
    resource, related = engine._build_heartbeat_event_template()  # noqa: SLF001 - as Prefect's loop
    over = threading.Event()

    def beat() -> None:
        while True:
            with suppress(Exception):  # an API that is away will come back
                engine._emit_flow_run_heartbeat(resource, related)  # noqa: SLF001 - likewise
            if over.wait(seconds):
                return

    # with the settings of this thread: without them the events would go to another API
    threading.Thread(target=copy_context().run, args=(beat,), name="heartbeats", daemon=True).start()
    try:
        yield
    finally:
        over.set()
