"""Lines in the log of a flow run at the API, which is where people look first when they open a run's page.

A command keeps Prefect's own log at warnings, and prints none of it. These lines go to the API all the same: together,
in one request at the end of the run, or sooner where the run is about to take long (:func:`send`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from prestow.errors import printable

_LONGEST = 2000  # characters of a line
_NAME = "prefect.flow_runs"

_lines: ContextVar[list[dict[str, Any]] | None] = ContextVar("lines of the run's log", default=None)


@contextmanager
def batched() -> Iterator[None]:
    """Send the lines of this block's run together at its end; after an interruption they are dropped."""
    before = _lines.set([])
    try:
        yield
    except Exception:
        send()
        raise
    else:
        send()
    finally:
        _lines.reset(before)


def tell(text: str, level: int = logging.INFO) -> None:
    """Add a line to the log of the present flow run; outside a run there is none."""
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger
    from prefect.logging.handlers import APILogHandler

    try:
        logger = get_run_logger()
    except MissingContextError:
        return
    line, lines = printable(text, _LONGEST), _lines.get()
    record = logging.LogRecord(_NAME, level, __file__, 0, line, None, None)
    if logger.isEnabledFor(level):  # as a worker's is, which prints the line, too
        logger.log(level, "%s", line)
    elif lines is None:
        pass_on(record)
    else:
        prepared = APILogHandler().prepare(record)
        lines.append({name: value for name, value in prepared.items() if not name.startswith("_")})


def send() -> None:
    """Send the lines that wait; the work goes on without them if the API does not take them."""
    from httpx import HTTPError
    from prefect import get_client

    if lines := _lines.get():
        with suppress(HTTPError), get_client(sync_client=True) as client:
            client.create_logs(lines)
        lines.clear()


def pass_on(record: logging.LogRecord) -> None:
    """Send a line to the API by Prefect's own thread, whatever Prefect's level is; outside a run drop it."""
    from prefect.context import FlowRunContext, TaskRunContext
    from prefect.logging.handlers import APILogHandler

    if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
        APILogHandler().emit(record)
