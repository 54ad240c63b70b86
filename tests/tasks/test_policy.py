"""What Prefect does around a step, seen from a real server: Completed, Cached, retried, failed, and nothing unsafe."""

import base64
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.local_server.ensure import Server
from prestow.content.disk import remove_abandoned
from prestow.digest import Digest
from prestow.errors import InvalidError, MismatchError, NotFoundError, UnavailableError, UnknownHostError
from tasks.delays import Retries
from tasks.journal import Line, journal, listening
from tasks.policy import NOWHERE, _Record, records, step
from tests.conformance.crash import killed_at_each_call
from tests.prefect_records import flow_run_id, log_lines, task_runs

AT_ONCE = Retries(first=0.001)


@dataclass(frozen=True, slots=True)
class Made:
    """A result with foreign text in it."""

    digest: Digest
    labels: Mapping[str, str]


def _note(home: str, what: str) -> int:
    """Count how often something was done, over processes."""
    with Path(home, what).open("a") as file:
        file.write("x")
    return len(Path(home, what).read_text())


def _done(home: str, what: str) -> int:
    return len(Path(home, what).read_text()) if Path(home, what).exists() else 0


@step(
    lambda what: f"make {what}",
    version=1,
    key=lambda what: what or None,
    hit=lambda home, what: Path(home, f"{what}.there").exists(),
)
def make(home: str, what: str, labels: Mapping[str, str]) -> Made:
    """A step whose result the store shows as a file."""
    _note(home, "made")
    Path(home, f"{what}.there").touch()
    return Made(Digest.of(what.encode()), labels)


@step(lambda: "use", version=1)
def use(home: str, made: Made, others: tuple[Made, ...] = ()) -> str:
    """A step without a key."""
    _note(home, "used")
    return f"{made.digest} {len(others)}"


@step(lambda: "fail", version=1, key=lambda: "k", retries=AT_ONCE)
def fail(home: str, times: int, error: Exception) -> int:
    """A step that fails a number of times."""
    if _note(home, "tried") <= times:
        raise error
    return _done(home, "tried")


@pytest.fixture
def home(tmp_path: Path) -> str:
    """Return a store, as far as the policy knows one."""
    (tmp_path / "store.json").write_text('{"format": 1, "id": "one"}')
    return str(tmp_path)


def _threads(count: int) -> Any:
    return ThreadPoolTaskRunner(max_workers=count)


def in_flow(call: Callable[[], PrefectFuture[Any]]) -> State[Any]:
    """Run one step in a flow of its own, and give the step's state."""
    states: list[State[Any]] = []

    @flow(persist_result=False, result_storage=NOWHERE, task_runner=_threads(2))
    def one() -> None:
        future = call()
        future.wait()
        states.append(future.state)

    one()
    return states[0]


def made(home: str, what: str = "a", labels: Mapping[str, str] | None = None) -> State[Any]:
    return in_flow(lambda: make.submit(home, what, labels or {}))


def test_a_step_is_cached_only_while_the_store_shows_its_result(prefect_server: Server, home: str) -> None:
    first, second = made(home), made(home)
    Path(home, "a.there").unlink()
    third, fourth = made(home), made(home)

    assert [s.name for s in (first, second, third, fourth)] == ["Completed", "Cached", "Completed", "Cached"]
    assert _done(home, "made") == 2


def test_a_cached_result_is_the_same_value_of_the_same_type(prefect_server: Server, home: str) -> None:
    labels = {"__class__": "subprocess.check_output", "data": "id", "result": "x"}
    fresh, cached = made(home, labels=labels).result(), made(home, labels=labels).result()

    assert fresh == cached == Made(Digest.of(b"a"), labels)
    assert type(cached.digest) is Digest


def test_a_call_gives_the_value_itself_fresh_or_cached(prefect_server: Server, home: str) -> None:
    @flow(persist_result=False, result_storage=NOWHERE)
    def calls() -> list[Made]:
        return [make(home, "a", {}), make(home, "a", {})]

    assert calls() == [Made(Digest.of(b"a"), {})] * 2
    assert _done(home, "made") == 1


def test_futures_may_be_arguments_of_other_steps_fresh_or_cached(prefect_server: Server, home: str) -> None:
    @flow(persist_result=False, result_storage=NOWHERE, task_runner=_threads(3))
    def graph() -> str:
        some = [make.submit(home, what, {}) for what in "abcd"]
        last = use.submit(home, some[0], tuple(some), wait_for=some)
        return last.result()

    expected = f"{Digest.of(b'a')} 4"
    assert [graph(), graph()] == [expected, expected]
    assert (_done(home, "made"), _done(home, "used")) == (4, 2)


@pytest.mark.long
def test_another_process_finds_what_this_one_made(prefect_server: Server, home: str) -> None:
    made(home)
    program = f"from tests.tasks.test_policy import made; print(made({home!r}).name)"
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], env=os.environ, check=True, capture_output=True
    ).stdout
    assert output.strip().endswith(b"Cached")
    assert _done(home, "made") == 1


def test_the_same_step_at_the_same_time_gives_equal_results_and_one_whole_record(
    prefect_server: Server, home: str
) -> None:
    @flow(persist_result=False, result_storage=NOWHERE, task_runner=_threads(8))
    def many() -> set[Digest]:
        return {future.result().digest for future in [make.submit(home, "a", {}) for _ in range(16)]}

    assert many() == {Digest.of(b"a")}
    assert [json.loads(record.read_text()) for record in records(home).iterdir()] == [
        {"digest": str(Digest.of(b"a")), "labels": {}}
    ]


def test_a_call_without_key_runs_each_time_and_leaves_no_record(prefect_server: Server, home: str) -> None:
    value = Made(Digest.of(b""), {})
    states = [in_flow(lambda: use.submit(home, value)) for _ in range(2)]
    states += [made(home, what="") for _ in range(2)]
    assert [state.name for state in states] == ["Completed"] * 4
    assert not records(home).exists()


def test_a_store_made_anew_remembers_nothing(prefect_server: Server, home: str) -> None:
    made(home)
    Path(home, "store.json").write_text('{"format": 1, "id": "two"}')
    assert made(home).name == "Completed"


def test_without_a_store_the_step_runs_and_is_not_remembered(prefect_server: Server, home: str) -> None:
    Path(home, "store.json").unlink()
    assert [made(home).name, made(home).name] == ["Completed", "Completed"]


def test_a_record_counts_for_one_step_version_and_key_only(home: str) -> None:
    inputs = {"home": home, "what": "a", "labels": {}}
    second = step(lambda: "", version=2, key=lambda what: what)(_renamed("make_again"))
    third = step(lambda: "", version=3, key=lambda what: what)(_renamed("make_anew"))
    keys = [s.key_of(home, i) for s in (make, second, third) for i in (inputs, inputs | {"what": "../b"})]

    assert len(set(keys)) == len(keys)
    assert all("/" not in str(key) for key in keys)
    assert make.key_of(home, inputs) == make.key_of(home, inputs | {"labels": {"x": "y"}})


def _renamed(name: str) -> Any:
    def fn(home: str, what: str) -> None:
        pass

    fn.__name__ = name
    return fn


class _Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def _forged(canary: Path) -> list[str]:
    """Return records that would run code if anything in them decided how they are read."""
    pickled = base64.encodebytes(pickle.dumps(_Bomb(canary))).decode()
    caller = {"__class__": "subprocess.check_output", "data": [["touch", str(canary)]]}
    return [
        json.dumps({"metadata": {"serializer": {"type": "pickle"}}, "result": pickled}),
        json.dumps({"data": pickled}),
        json.dumps(caller),
        json.dumps({"digest": caller, "labels": caller}),
        json.dumps({"digest": str(Digest.of(b"a"))}),
        pickled,
        "",
    ]


def test_a_forged_record_is_no_record_and_runs_nothing(prefect_server: Server, home: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    made(home)
    (record,) = records(home).iterdir()
    for forged in _forged(canary):
        record.write_text(forged)
        assert made(home).name == "Completed"
        assert made(home).name == "Cached"
    assert not canary.exists()


def test_records_are_plain_json_in_a_private_folder(prefect_server: Server, home: str) -> None:
    made(home, labels={"a": "b"})
    (record,) = records(home).iterdir()
    assert json.loads(record.read_text()) == {"digest": str(Digest.of(b"a")), "labels": {"a": "b"}}
    assert records(home).stat().st_mode & 0o777 == 0o700


def test_a_record_that_cannot_be_kept_fails_no_step(prefect_server: Server, home: str) -> None:
    records(home).parent.mkdir()
    records(home).touch()
    assert [made(home).name, made(home).name] == ["Completed", "Completed"]


def test_a_process_killed_while_it_keeps_a_record_leaves_nothing_that_stays(home: str) -> None:
    inputs = {"home": home, "what": "a", "labels": {}}

    def keep() -> None:
        record = _Record(step=make, home=home)
        record.write_path(str(record.begin(inputs)), b'{"result": "{}"}')

    drafts = 0
    for _ in killed_at_each_call(keep):
        files = {path for path in records(home).parent.rglob("*") if path.is_file()}
        remove_abandoned(records(home).parent)  # as recovery does
        stays = {path for path in records(home).parent.rglob("*") if path.is_file()}
        drafts += len(files - stays)
        assert stays <= {records(home) / str(make.key_of(home, inputs))}
        assert all(path.read_text() == "{}" for path in stays)
    assert drafts > 0


def test_a_transient_error_is_tried_again(prefect_server: Server, home: str) -> None:
    state = in_flow(lambda: fail.submit(home, 2, UnavailableError("503")))
    assert (state.name, state.result()) == ("Completed", 3)


@pytest.mark.parametrize(
    "error",
    [
        MismatchError("other bytes"),
        NotFoundError("404"),
        ValueError("an error in the program"),
        UnavailableError("429", retry_after=301.0),
    ],
)
def test_an_error_that_a_retry_cannot_help_is_raised_as_it_is(
    prefect_server: Server, home: str, error: Exception
) -> None:
    state = in_flow(lambda: fail.submit(home, 2, error))
    assert (state.name, _done(home, "tried")) == ("Failed", 1)
    assert str(error) in (state.message or "")
    with pytest.raises(type(error)) as raised:
        state.result()
    assert raised.value is error
    assert not records(home).exists(), "an exception was stored"


def test_a_transient_error_that_stays_is_raised_after_the_last_attempt(prefect_server: Server, home: str) -> None:
    state = in_flow(lambda: fail.submit(home, 99, UnavailableError("503")))
    assert (state.name, _done(home, "tried")) == ("Failed", AT_ONCE.attempts)


def test_the_server_records_attempts_waits_and_titles(prefect_server: Server, home: str) -> None:
    @flow(persist_result=False, result_storage=NOWHERE)
    def both() -> None:
        make(home, "a\x1b[31m", {})
        fail(home, 2, UnavailableError("429", retry_after=0.2))

    run = flow_run_id(both(return_state=True))
    first, second = task_runs(run, 2)
    with get_client(sync_client=True) as client:
        states = sorted(client.read_task_run_states(second.id), key=lambda state: state.timestamp)

    waits = [(before, wait) for before, wait in pairwise(states) if wait.name == "AwaitingRetry"]
    assert first.name == "make a\\x1b[31m"
    assert (second.name, second.run_count, len(waits)) == ("fail", 3, 2)
    for before, wait in waits:
        assert wait.message == "429"
        assert wait.state_details.scheduled_time is not None
        assert (wait.state_details.scheduled_time - before.timestamp).total_seconds() >= 0.2


def test_why_a_step_is_tried_again_is_in_the_run_s_log_and_told_to_who_listens(
    prefect_server: Server, home: str
) -> None:
    heard: list[Line] = []

    @flow(persist_result=False, result_storage=NOWHERE)
    def one() -> None:
        fail(home, 1, UnavailableError("429\x1b[31m"))

    with listening(heard.append), journal():
        run = flow_run_id(one(return_state=True))

    (line,) = log_lines(run, "attempt 1 of 5 failed")
    assert line.startswith("fail: ")
    assert line.endswith(r"429\x1b[31m")
    assert [(told.what, told.step, told.why) for told in heard] == [("waiting", "fail", r"429\x1b[31m")]


def test_a_state_tells_no_path_from_which_a_record_could_be_loaded(prefect_server: Server, home: str) -> None:
    @flow(persist_result=False, result_storage=NOWHERE)
    def one() -> None:
        make(home, "a", {})

    (task_run,) = task_runs(flow_run_id(one(return_state=True)), 1)
    assert task_run.state is not None
    assert home not in task_run.state.model_dump_json()


def test_waits_double_up_to_a_cap_and_are_spread() -> None:
    retries, error = Retries(attempts=10, first=1.0, cap=8.0), UnavailableError("busy")
    for attempt, longest in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (9, 8.0)):
        waits = [retries.delay(attempt, error) for _ in range(50)]
        assert all(wait is not None and longest / 2 <= wait <= longest for wait in waits)
        assert len(set(waits)) > 1


def test_a_wait_that_was_asked_for_is_kept_or_not_begun() -> None:
    retries = Retries(first=1.0, longest=100.0)
    for asked in (0.0, 3.0, 100.0):
        wait = retries.delay(1, UnavailableError("busy", retry_after=asked))
        assert wait is not None
        assert wait >= asked
    assert retries.delay(1, UnavailableError("busy", retry_after=100.1)) is None


def test_the_error_decides_whether_and_how_often_a_step_is_tried_again() -> None:
    for error, attempts in ((UnavailableError("…"), 5), (UnknownHostError("…"), 3), (NotFoundError("…"), 1)):
        waits = [Retries().delay(attempt, error) for attempt in range(1, 6)]
        assert [wait is not None for wait in waits].index(False) == attempts - 1
    assert Retries(attempts=2).attempts_for(UnknownHostError("…")) == 2


def test_a_step_that_names_what_it_has_not_fails_when_it_is_declared() -> None:
    with pytest.raises(TypeError, match="no parameter layer"):
        step(lambda layer: f"{layer}", version=1)(_renamed("wrong"))


def test_a_result_that_cannot_be_remembered_fails_when_it_is_declared() -> None:
    def fn(home: str) -> list[int]:
        return []

    with pytest.raises(TypeError, match="no form in plain JSON"):
        step(lambda: "", version=1)(fn)


def test_the_function_itself_can_be_called(home: str) -> None:
    assert make.fn(home, "a", {}) == Made(Digest.of(b"a"), {})
    with pytest.raises(InvalidError):
        make.serializer.loads(b"{}")
