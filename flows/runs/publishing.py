"""The progress of a pull as a Prefect artifact, which the page of its flow run shows as a bar with a text.

The artifact is created when fetching takes longer than ``_SECONDS``, and then updated as often, by a thread of its own:
a request takes as long as a small step. An API that does not answer leaves the artifact as it was, and the pull does
not notice. At the end the artifact says 100 %, or where and why the pull ended; only a killed process says nothing.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal

from flows.forms.figures import amount, duration, transfer
from flows.forms.markdown import code, size
from tasks.journal import Journal, Line
from tasks.transfers import Figures, Transfers

_SECONDS = 2.0  # between two updates
_LAST = 0.5  # seconds that the last update may take; Ctrl-C waits for it, and then has to reach the API, too
_FETCH = "fetch_layer"
_REASON = 500  # characters of why a pull ended


@contextmanager
def published(journal: Journal, name: str) -> Iterator[None]:
    """Publish the progress of the pull of image ``name``, whose lines are in ``journal``; outside a run do nothing."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        yield
        return
    publisher = _Publisher(name, UUID(str(context.flow_run.id)))
    with journal.heard_by(publisher):
        try:
            yield
        except (KeyboardInterrupt, TerminationSignal):
            publisher.end("interrupted by a person or a signal")
            raise
        except BaseException as error:
            publisher.end(str(error) or type(error).__name__)
            raise
        publisher.end("")


class _Publisher:
    """Takes the journal's lines, from any thread."""

    def __init__(self, name: str, run: UUID) -> None:
        self._name, self._run = name, run
        self._transfers, self._began = Transfers(), time.monotonic()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._ended: str | None = None
        self._context = copy_context()  # how this thread reaches the API
        self._thread: threading.Thread | None = None

    def __call__(self, line: Line) -> None:
        """Take a line."""
        self._transfers.take(line, time.monotonic())
        if line.step == _FETCH and line.what == "began":
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._context.run, args=[self._publish], daemon=True)
                    self._thread.start()

    def end(self, why: str) -> None:
        """Have the artifact say that the pull has ended, and ``why`` unless it is complete."""
        self._ended = why
        self._over.set()
        if self._thread is not None:
            self._thread.join(_LAST)

    def _publish(self) -> None:
        artifact, sent = None, None
        while not (over := self._over.wait(_SECONDS)) or artifact is not None:
            now = time.monotonic()
            content, whole = self._content(now), self._transfers.whole(now)
            if content != sent and (artifact is not None or (whole is not None and whole.running)):
                with suppress(Exception):  # an API that is away will come back
                    artifact, sent = self._send(artifact, *content), content
            if over:
                return

    def _send(self, artifact: UUID | None, percent: float, text: str) -> UUID:
        """Create the artifact, or update it, and return its ID."""
        with get_client(sync_client=True) as client:
            if artifact is None:
                made = ArtifactCreate(type="progress", description=text, data=percent, flow_run_id=self._run)
                return client.create_artifact(made).id
            client.update_artifact(artifact, ArtifactUpdate(description=text, data=percent))
            return artifact

    def _content(self, now: float) -> tuple[float, str]:
        """Return the percentage and the text of this moment."""
        whole = self._transfers.whole(now)
        figures = Figures() if whole is None else whole.figures
        share = figures.moved / figures.total if figures.total else 0.0
        name, percent = code(self._name), round(100 * share, 1)
        if self._ended == "":
            return 100.0, f"{name}: {size(figures.moved)} fetched, ended after {duration(now - self._began)}"
        if self._ended is not None:
            return percent, f"{name}: ended at {percent} %, {amount(figures)}: {code(self._ended, _REASON)}"
        layers = "" if whole is None else f", {whole.done} of {whole.layers} layers"
        steps = [
            f"- {step.replace('_', ' ')} {code(subject[:19])}: {transfer(each)}"
            for step, subject, each in self._transfers.running(now)
        ]
        waits = [f"- waits: {code(why, _REASON)}" for why in self._transfers.waits(now)]
        return percent, "\n".join([f"{name}: {transfer(figures)}{layers}", "", *steps, *waits])
