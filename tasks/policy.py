"""What Prefect does around a step: caching, retries, names. Nothing else of it is anywhere but in ``retries``.

    @step(lambda layer: f"apply {layer.diff_id.short}", version=1,
          key=lambda layer: layer.diff_id,
          hit=lambda home, layer: applied(home, layer.diff_id))
    def apply(home: str, layer: Layer) -> Applied: ...

**Caching.** A call is remembered under (step, version, store, key), and what is remembered counts only while ``hit``
holds: the store is the judge, Prefect's memory is not. A record is a file below the store, ``prefect/results``; it
holds the value in plain JSON and nothing else. What type to read it as is known to the step alone, so a
forged record can name no serializer and no class; one that does not fit is no record. A step without ``key``, or
whose ``key`` gives None, runs each time.

**Retries.** The error decides; see ``tasks/retries.py``.

**Names.** ``title``, ``key`` and ``hit`` are functions of those of the step's parameters that they name.

**Tags.** A step has those of its flow's run, and gets them when Prefect asks for its key: before that, Prefect asks the
API at each step for the limits of each tag that the step has already.

Steps are called from flows, never from steps: Prefect writes the record of a nested one only when the outer ends.
"""

import copy
import inspect
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import update_wrapper
from hashlib import sha256
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, get_type_hints

from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.filesystems import WritableFileSystem
from prefect.futures import PrefectFuture
from prefect.serializers import Serializer
from pydantic import Field, PrivateAttr

from prestow.content.disk import replace_file
from prestow.errors import printable
from tasks import values
from tasks.delays import USUAL, Retries
from tasks.retries import retry_condition
from tasks.threads import placed

P = ParamSpec("P")
R = TypeVar("R")

NOWHERE = Path("/nonexistent")
"""Result storage of flows, which keep none; that a path is named spares two questions to the API for every run."""

_logger = logging.getLogger(__name__)


class _Asked:
    """A function that is called with those of a step's parameters that it names."""

    def __init__(self, function: Callable[..., Any], step: Callable[..., Any]) -> None:
        self._function = function
        self._names = tuple(inspect.signature(function).parameters)
        if unknown := set(self._names) - set(inspect.signature(step).parameters):
            raise TypeError(f"step {step.__name__} has no parameter {', '.join(sorted(unknown))}")

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        return self._function(*(inputs[name] for name in self._names))


class _Record(WritableFileSystem):
    """Prefect's result storage, for one call: the one record that can answer it.

    Prefect asks twice, whether there is a record and what it says; it is read once, so that what was judged is what is
    used. Prefect's other writes are dropped: a failure is told by its state's message, not by a stored exception.
    """

    _block_type_slug = "prestow-record"
    _step: "Step[..., Any]" = PrivateAttr()
    _home: str = PrivateAttr()
    _key: str | None = PrivateAttr(default=None)
    _inputs: Mapping[str, Any] = PrivateAttr(default_factory=dict)
    _content: bytes | None = PrivateAttr(default=None)

    def __init__(self, *, step: "Step[..., Any]", home: str) -> None:
        super().__init__()
        self._step, self._home = step, home

    def begin(self, inputs: Mapping[str, Any]) -> str | None:
        """Begin an attempt, forgetting what was judged before, and name its record."""
        self._key, self._inputs, self._content = self._step.key_of(self._home, inputs), inputs, None
        return self._key

    # Prefect declares the next two as coroutines, and calls them as functions (``_sync``) for a step that is one.
    def read_path(self, path: str, **_: object) -> Any:
        """Return the record as Prefect writes them, or fail: then there is none."""
        if path != self._key:
            raise FileNotFoundError(path)
        if self._content is None:
            self._content = self._judged(path)
        return self._content

    def write_path(self, path: str, content: bytes, **_: object) -> Any:
        """Replace a record as a whole; without it the step would only run again, which is no reason to fail."""
        if path != self._key:
            return
        folder = records(self._home)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(folder / path, json.loads(content)["result"].encode(), durable=False, drafts=folder.parent)
        except OSError as error:
            _logger.warning("step %s: its record was not kept: %s", self._step.name, error)

    def _judged(self, key: str) -> bytes:
        """Read the value's text, and make sure that the store still shows it and that it is one."""
        if not self._step.holds(self._inputs):
            raise FileNotFoundError(key)
        text = (records(self._home) / key).read_text("utf-8")
        self._step.serializer.loads(text.encode())
        metadata = {"serializer": {"type": self._step.serializer.type}, "storage_key": key}
        return json.dumps({"metadata": metadata, "result": text}).encode()

    def _resolve_path(self, _path: str) -> None:
        """Keep keys as they are: a state gives no reader a path from which a record could be loaded unjudged."""


class Step(Generic[P, R]):
    """One step of the graph: a plain function, which is ``fn``, and the Prefect task around it."""

    def __init__(
        self,
        fn: Callable[Concatenate[str, P], R],
        title: Callable[..., str],
        version: int,
        key: Callable[..., str | None] | None,
        hit: Callable[..., bool] | None,
        retries: Retries,
    ) -> None:
        """Wrap ``fn``; the others are the arguments of :func:`step`."""
        update_wrapper(self, fn)
        self.fn = fn
        self.name = fn.__name__
        self.version = version
        self.serializer = _serializer(fn.__name__, get_type_hints(fn)["return"])
        self._key = None if key is None else _Asked(key, fn)
        self._hit = None if hit is None else _Asked(hit, fn)
        self._task: Task[..., Any] = Task(
            placed(fn),
            version=str(version),
            task_run_name=_run_name(_Asked(title, fn)),
            cache_policy=NO_CACHE,
            persist_result=key is not None,
            result_serializer=self.serializer,
            cache_result_in_memory=False,
            retries=retries.attempts - 1,
            retry_condition_fn=retry_condition(retries),
            log_prints=False,
        )

    def __call__(self, home: str, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the step, or give what is remembered of it."""
        return cast("R", self._bound(home)(home, *args, **kwargs))

    def submit(
        self, home: str, *args: Any, wait_for: Iterable[PrefectFuture[Any]] = (), **kwargs: Any
    ) -> PrefectFuture[R]:
        """Run the step on the flow's task runner; any argument may be the future of another step."""
        return cast("PrefectFuture[R]", self._bound(home).submit(home, *args, wait_for=list(wait_for), **kwargs))

    def __reduce__(self) -> str:
        """Pickle as a name of its module: a flow that is served is handed to its process with the steps it names."""
        return self.name

    def key_of(self, home: str, inputs: Mapping[str, Any]) -> str | None:
        """Name the record for these inputs; harmless as a file name, whatever is in them."""
        key = None if self._key is None else self._key(inputs)
        store_id = None if key is None else _store_id(home)
        if store_id is None:
            return None
        digest = sha256(json.dumps([self.name, self.version, store_id, key]).encode())
        return f"{self.name}-{self.version}-{digest.hexdigest()}"

    def holds(self, inputs: Mapping[str, Any]) -> bool:
        """Ask the store whether the step's result is there."""
        return self._hit is None or bool(self._hit(inputs))

    def _bound(self, home: str) -> "Task[..., Any]":
        """Return the task of one call, which alone uses this record, and this wait between attempts."""
        task = copy.copy(self._task)
        record = None if self._key is None else _Record(step=self, home=home)

        def begin(context: TaskRunContext, inputs: dict[str, Any]) -> str | None:
            _carry_tags(context.task_run)
            return None if record is None else record.begin(inputs)

        task.cache_policy = CachePolicy.from_cache_key_fn(begin)  # type: ignore[assignment]  # Prefect's type is inferred from NO_CACHE alone
        if record is not None:
            task.result_storage = record
        return task


def step(
    title: Callable[..., str],
    *,
    version: int,
    key: Callable[..., str | None] | None = None,
    hit: Callable[..., bool] | None = None,
    retries: Retries = USUAL,
) -> Callable[[Callable[Concatenate[str, P], R]], Step[P, R]]:
    """Make a step of a function whose first parameter is ``home``, the store's path.

    Args:
        title: names a run for people.
        version: counts changes of what the step does or gives; records of another version do not count.
        key: gives what identifies the result within a store; None for a call that must run.
        hit: tells whether the store still has what a remembered result speaks of.
        retries: how often to try, and how long to wait in between, when an error is transient.

    Raises:
        TypeError: a function names a parameter that the step lacks, or the result's type has no form in plain JSON.
    """
    return lambda fn: Step(fn, title, version, key, hit, retries)


def records(home: str) -> Path:
    """Return the folder of the records of a store; all of it may be deleted at any time."""
    return Path(home, "prefect", "results")


def _carry_tags(run: TaskRun) -> None:
    """Let a step's run have the tags of its flow's run; the server learns them with the next state."""
    flow = FlowRunContext.get()
    if flow is not None and flow.flow_run is not None:
        run.tags = sorted({*run.tags, *flow.flow_run.tags})


def _run_name(title: _Asked) -> Any:
    """Return Prefect's naming function; Prefect passes parameters only to one that calls them so."""

    def run_name(parameters: Mapping[str, Any]) -> str:
        return printable(title(parameters))

    return run_name


def _serializer(step_name: str, result: Any) -> Serializer:
    """Make the serializer of one step, which alone knows the type of its result."""
    values.check(result)

    class PlainJson(Serializer):
        type: str = Field(default=f"prestow.{step_name}", frozen=True)

        def dumps(self, obj: Any) -> bytes:
            return values.dump(str(obj) if isinstance(obj, BaseException) else obj)

        def loads(self, blob: bytes) -> Any:
            return values.load(result, blob)

    return PlainJson()


def _store_id(home: str) -> str | None:
    """Read the random name that the store was given when it was made; None where there is no store yet."""
    try:
        return str(json.loads(Path(home, "store.json").read_bytes())["id"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
