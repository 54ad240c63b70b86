"""Which flow runs are under way in which process, so that the next one can tell whose process was killed.

    <home>/prefect/runs/<flow run ID>      {"api": …, "boot": …, "pid": …, …}; there while the run lasts

A process that is killed leaves its files behind, and the next one on this host marks its runs as Crashed. Deployed runs
send heartbeats, too (``flows.heartbeats``): their host may never come back.
"""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from uuid import UUID

from prestow.content.disk import replace_file
from prestow.content.process_identity import Process

_KEPT = 16


class Runs:
    """The runs of this process.

    The end of a flow is told to the API after its function has returned, so the files of the last ones stay a while.
    """

    def __init__(self, folder: Path, api: str) -> None:
        """Note runs that a certain API knows; ``api`` names it."""
        self._folder = folder
        self._api = api
        self._process = Process.current()
        self._ended: deque[Path] = deque()

    def begin(self, run: UUID) -> None:
        """Note a run that begins here; where that cannot be written, the run goes on without."""
        document = {"api": self._api, **self._process.document()}
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            data = json.dumps(document).encode()
            replace_file(self._folder / str(run), data, durable=False, drafts=self._folder.parent)

    def end(self, run: UUID) -> None:
        """Note the end of a run."""
        self._ended.append(self._folder / str(run))
        self.forget(_KEPT)

    def forget(self, kept: int = 0) -> None:
        """Remove the files of runs that have ended, but for the last ones."""
        while len(self._ended) > kept:
            with suppress(OSError):
                self._ended.popleft().unlink(missing_ok=True)


_runs: ContextVar[Runs | None] = ContextVar("runs of this process", default=None)


@contextmanager
def noting(home: Path, api: str) -> Iterator[None]:
    """Note the flow runs that begin in this block and say so to :func:`registered`."""
    runs = Runs(_folder(home), api)
    before = _runs.set(runs)
    try:
        yield
    finally:
        _runs.reset(before)
        runs.forget()


@contextmanager
def registered(run: UUID) -> Iterator[None]:
    """Note a flow run for as long as this block lasts; nothing, outside of :func:`noting`."""
    runs = _runs.get()
    if runs is None:
        yield
        return
    runs.begin(run)
    try:
        yield
    finally:
        runs.end(run)


def unfinished(home: Path, api: str) -> Iterator[UUID]:
    """Yield the runs that an API knows and whose process has ended; each is forgotten when the next is asked for."""
    try:
        files = list(_folder(home).iterdir())
    except FileNotFoundError:
        return
    for file in files:
        run = _if_unfinished(file, api)
        if run is not None:
            yield run
            file.unlink(missing_ok=True)


def _if_unfinished(file: Path, api: str) -> UUID | None:
    try:
        run, content = UUID(file.name), file.read_bytes()
    except (OSError, ValueError):
        return None
    try:
        found = json.loads(content)
        return run if Process.parse(found).ended() and found["api"] == api else None
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ):  # a power cut took what it said, and with it the process
        return run


def _folder(home: Path) -> Path:
    return home / "prefect" / "runs"
