"""Values that a container gets and nothing else has: planted, handed over in every way, and looked for everywhere."""

import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.blocks.system import Secret
from prefect.exceptions import ParameterTypeError, PrefectHTTPStatusError
from prefect.states import Scheduled

from flows.bundle import bundle
from flows.deploying import deploy
from flows.local_server.ensure import Server, environment
from flows.run import run
from flows.variables import environment as variables
from flows.variables import recorded as recorded_of
from prestow.errors import InvalidError, NotFoundError, PreconditionError, PrestowError
from prestow.runtime.masking import MASK
from prestow.store.node import open_node
from tests.contents import contents
from tests.flows.cli.conftest import Prestow
from tests.prefect_records import ended, events, flow_run_id, log_lines, runs_of, task_runs, until
from tests.wheels import ROOT
from tests.workers import Worker, created, without_prefect, worker

pytestmark = pytest.mark.usefixtures("prefect_server")

NAMES = ("PLAIN", "NAMED", "CALLER", "FILE", "BLOCK")
HASH = "for v in " + " ".join(NAMES) + '; do eval printf %s \\"\\$$v\\"; done | sha256sum; read -r _'


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A value for each way: by NAME, in a file, in a block, and such as people write anyway, with words."""
    values = {name: f"canary-{secrets.token_hex(12)}" for name in (*NAMES, "WORD")}
    (tmp_path / "value").write_text(values["FILE"] + "\n")
    Secret(value=values["BLOCK"]).save("test-variables", overwrite=True)
    yield values
    with get_client(sync_client=True) as client:
        client.delete_block_document(client.read_block_document_by_name("test-variables", "secret").id)


def references(scratch: Path) -> tuple[str, ...]:
    return ("CALLER", f"FILE=file:{scratch / 'value'}", "BLOCK=block:test-variables")


def digest(values: dict[str, str]) -> str:
    """What the container says when it has all values."""
    return sha256("".join(values[name] for name in NAMES).encode()).hexdigest()


def recorded(run: UUID) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run).parameters


def bytes_of(folder: Path, besides: Path | None = None) -> Iterator[bytes]:
    return (data for path, data in contents(folder) if path != besides)


def server_bytes() -> Iterator[bytes]:
    """The database of the Prefect server with all that belongs to it, and its log."""
    folder = Path(os.environ["PREFECT_HOME"])
    assert {"prefect.db", "server.log"} <= {path.name for path in folder.iterdir()}
    yield from bytes_of(folder)


def command_lines() -> bytes:
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes()
        except OSError:
            continue
    return found


def assert_absent(values: dict[str, str], *data: bytes) -> None:
    found = [name for name, value in values.items() if any(value.encode() in each for each in data)]
    assert found == []


def test_values_are_in_the_container_and_nowhere_else(
    home: str, tmp_path: Path, shell: str, planted: dict[str, str], prefect_server: Server
) -> None:
    api = {name: value for name, value in environment(prefect_server).items() if name != "PREFECT_HOME"}
    prestow = Prestow(Path(home), api, tmp_path)
    own = {"NAMED": planted["NAMED"], "CALLER": planted["CALLER"], "PRESTOW_COLD": "0"}
    ways = [word for reference in references(tmp_path) for word in ("--secret", reference)]
    ways += ["--env", "NAMED", "--env", "GONE"]
    typed = ["--env", f"PLAIN={planted['PLAIN']}", shell, "--", "/bin/sh", "-c", HASH, planted["WORD"]]

    with prestow.start("run", "--id", "box", "-i", *ways, *typed, env=own, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        lines = command_lines()
        out, err = process.communicate("\n")

    assert (process.returncode, said.split()[0]) == (0, digest(planted)), err
    config = Path(home, "bundles/box/config.json")
    given = json.loads(config.read_bytes())["process"]["env"]
    assert {f"{name}={planted[name]}" for name in NAMES} <= set(given)
    assert not any(each.startswith("GONE=") for each in given)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (config, config.parent)] == [0o600, 0o700]
    typed_values = {name: planted[name] for name in ("PLAIN", "WORD")}
    assert_absent({name: value for name, value in planted.items() if name not in typed_values}, lines)
    (found,) = runs_of("run", home)
    assert found.parameters["args"] == [MASK] * 4
    assert found.parameters["env"] == ["NAMED", "GONE", f"PLAIN={MASK}"]
    assert found.parameters["secrets"] == list(references(tmp_path))
    task_runs(found.id, 13)
    events(found.id, 12)
    assert_absent(planted, out.encode(), err.encode(), said.encode(), *bytes_of(Path(home), config))
    assert_absent(planted, *server_bytes())
    prestow("warm", "stop", env=own)


def in_a_flow(*args: Any, **given: Any) -> Any:
    """Call it in somebody's own flow."""

    @flow
    def outer() -> None:
        run(*args, **{**given, "return_state": False})

    return outer(return_state=True)


CALLS: dict[str, Callable[..., Any]] = {
    "options": run.with_options(retries=1),
    "subflow": in_a_flow,
    "fails": partial(run, user="nobody-here"),
    "wrong types": lambda *args, **given: run(*args, **{**given, "env": given["env"][0]}),
    "wrong secret": lambda *args, **given: run(*args, **{**given, "secrets": given["env"]}),
    "bundle": lambda *args, **given: bundle(*args, f"{given['home']}.b", copied=True, pull="missing", **given),
}


@pytest.mark.parametrize("how", CALLS)
def test_python_s_callers_leave_no_value_either(
    home: str, tmp_path: Path, shell: str, planted: dict[str, str], how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {"args": ("/bin/sh", "-c", f"exit 0; {planted['WORD']}"), "home": home}
    given["env"] = (f"PLAIN={planted['PLAIN']}", f"NAMED={planted['NAMED']}")
    given["secrets"] = (f"FILE=file:{tmp_path / 'value'}",)

    state = CALLS[how](shell, id="box", return_state=True, **given)

    assert state.is_completed() == (how not in {"fails", "wrong types", "wrong secret"}), state.message
    if how in {"options", "bundle"}:
        task_runs(flow_run_id(state), 11 if how == "bundle" else 13)
    if how in {"fails", "wrong secret"}:
        log_lines(flow_run_id(state), "")
    folder = Path(f"{home}.b" if how == "bundle" else f"{home}/bundles/box")
    if state.is_completed():
        assert f"FILE={planted['FILE']}" in json.loads((folder / "config.json").read_bytes())["process"]["env"]
    out, err = capfd.readouterr()
    assert_absent(planted, out.encode(), err.encode(), repr(state).encode())
    assert_absent(planted, *bytes_of(Path(home), folder / "config.json"), *server_bytes())


def test_what_was_masked_is_not_taken_for_a_value(home: str, shell: str) -> None:
    for given in ({"env": (f"A={MASK}",)}, {"args": ("/bin/sh", MASK)}):
        with pytest.raises(InvalidError, match="record"):
            run(shell, home=home, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reference", "error", "says"),
    [
        ("A=env:PRESTOW_TEST_NOT_SET", NotFoundError, "PRESTOW_TEST_NOT_SET.* not set"),
        ("PRESTOW_TEST_NOT_SET", NotFoundError, "not set here"),
        ("A=file:/nonexistent/x", NotFoundError, "create it"),
        ("A=file:/", PrestowError, "directory"),
        ("A=file:/bin/busybox", InvalidError, "longer than"),
        ("A=block:none-such", NotFoundError, "no Secret block"),
        ("A=canary", InvalidError, "expected NAME"),
        ("=canary", InvalidError, "expected NAME"),
        ("A=vault:canary", InvalidError, "expected NAME"),
        ("canary pass", InvalidError, "expected NAME"),
    ],
)
def test_a_source_that_is_none_is_told_without_any_value(reference: str, error: type[PrestowError], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        variables((), (reference,), None)

    assert "canary" not in str(raised.value)


def test_a_file_that_is_no_text_is_refused_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"canary\xff")

    with pytest.raises(InvalidError, match="not UTF-8") as raised:
        variables((), (f"A=file:{tmp_path / 'raw'}",), None)

    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(("text", "value"), [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("", ""), ("a\r", "a\r")])
def test_a_file_is_taken_without_its_last_line_end(tmp_path: Path, text: str, value: str) -> None:
    (tmp_path / "value").write_bytes(text.encode())

    assert variables((), (f"A=file:{tmp_path / 'value'}",), None) == (f"A={value}",)


def test_a_missing_source_is_told_before_anything_is_fetched(home: str) -> None:
    with pytest.raises(NotFoundError, match="create it"):
        run("oci:/nonexistent:image", secrets=("A=file:/nonexistent/x",), home=home)


@pytest.mark.parametrize("offer", ["env:HOME*", "file:/tmp/*", "env:", "file:*/x", "*:HOME"])
@pytest.mark.parametrize("reference", ["A=env:PATH", "PATH", "A=file:/tmp/../etc/passwd", "A=file:/proc/self/environ"])
def test_only_what_a_host_offers_is_read_for_a_deployed_run(reference: str, offer: str) -> None:
    with pytest.raises(PreconditionError, match="deployed_secrets"):
        variables((), (reference,), (offer,))


@pytest.mark.parametrize("offer", ["env:PAT*", "env:PATH", "env:*", "*"])
def test_what_a_host_offers_is_read(offer: str) -> None:
    given = {f"{name}={os.environ['PATH']}" for name in ("PATH", "A")}

    assert set(variables(("PATH", "HERE="), ("A=env:PATH",), ("file:/x", offer))) == {*given, "HERE="}


@pytest.mark.parametrize(
    ("parameter", "value", "shown"),
    [
        ("env", ["A=canary", "B", "=canary", "C="], [f"A={MASK}", "B", f"={MASK}", f"C={MASK}"]),
        ("secrets", ["A", "A=env:B", "A=canary", "A=env:"], ["A", "A=env:B", f"A={MASK}", f"A={MASK}"]),
        ("secrets", ["p@ss canary", 7], [MASK, MASK]),
        ("args", ("canary", ""), [MASK, MASK]),
        ("env", "A=canary", MASK),
        ("args", {"canary": 1}, MASK),
        ("secrets", None, MASK),
    ],
)  # fmt: skip
def test_what_is_recorded(parameter: str, value: object, shown: object) -> None:
    assert recorded_of(parameter, value) == shown


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the host of the worker offers to deployed runs."""
    return tmp_path_factory.mktemp("offered")


@pytest.fixture(scope="module")
def host(
    deploying: None, prefect_server: Server, offered: Path, shell: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """A worker with variables of its own, some of which deployed runs may read."""
    deploy(ROOT)
    allowed = json.dumps([f"file:{os.path.realpath(offered)}/*", "env:OFFERED_*"])
    offer = {"PRESTOW_DEPLOYED_SECRETS": allowed, "OFFERED_A": "canary-offered", "OTHER": "canary-other"}
    offer["PRESTOW_DEPLOYED_LAYOUTS"] = json.dumps([shell.split(":")[1]])
    own = {**without_prefect(), **environment(prefect_server), **offer}
    with worker(sys.executable, own, tmp_path_factory.mktemp("worker") / "log") as running:
        yield running


SHA = ["/bin/sh", "-c", 'printf %s "$A$B$C" | sha256sum']


@pytest.mark.long
def test_a_deployed_run_and_its_retry_get_the_values_of_their_host(
    host: Worker, home: str, offered: Path, shell: str, planted: dict[str, str]
) -> None:
    (offered / "value").write_text(planted["FILE"])
    given = ["A=env:OFFERED_A", f"B=file:{offered / 'value'}", "C=block:test-variables"]

    run = host.run("run/run", reference=shell, args=SHA, secrets=given, rm=True, home=home)

    values = ["canary-offered", planted["FILE"], planted["BLOCK"]]
    assert log_lines(run, "  -") == [sha256("".join(values).encode()).hexdigest() + "  -"]
    assert recorded(run)["secrets"] == given
    (offered / "value").write_text(planted["NAMED"])  # it was changed meanwhile
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Scheduled(name="AwaitingRetry"), force=True)
    values[1] = planted["NAMED"]
    until(lambda: log_lines(run, sha256("".join(values).encode()).hexdigest()), 1, "the retried run's values")
    ended(run)
    for value in (*values, *planted.values()):
        assert not any(value.encode() in data for data in (*server_bytes(), *bytes_of(Path(home))))
    assert not any(value in host.log.read_text() for value in values)


@pytest.mark.long
@pytest.mark.parametrize("how", ["plain name", "link"])
def test_a_deployed_run_reads_nothing_that_its_host_does_not_offer(
    host: Worker, home: str, offered: Path, tmp_path: Path, shell: str, how: str
) -> None:
    (tmp_path / "value").write_text("canary-other")
    (offered / how).symlink_to(tmp_path / "value")
    given: dict[str, Any] = {
        "plain name": {"env": ["OTHER"]},
        "link": {"secrets": [f"A=file:{offered / how}"]},
    }[how]

    found = ended(created("run/run", reference=shell, home=home, **given))

    assert found.state is not None
    assert found.state.is_failed()
    assert "deployed_secrets" in str(found.state.message)
    assert not Path(home).exists() or open_node(home).images.list() == ()


@pytest.mark.usefixtures("host")
def test_the_api_refuses_a_value_in_the_place_of_a_reference(shell: str, planted: dict[str, str]) -> None:
    with pytest.raises(PrefectHTTPStatusError, match="409"):
        created("run/run", reference=shell, secrets=[f"A={planted['NAMED']}"])

    assert_absent(planted, *server_bytes())


def test_no_call_without_a_run_takes_a_wrong_type(home: str, shell: str) -> None:
    with pytest.raises(ParameterTypeError, match="env: expected a list of texts"):
        run(shell, env=(1,), home=home)  # type: ignore[arg-type]


def test_a_secret_comes_through_a_pipe() -> None:
    end, begin = os.pipe()
    os.write(begin, b"sesame\n")
    os.close(begin)

    assert variables((), (f"TOKEN=file:/dev/fd/{end}",), None) == ("TOKEN=sesame",)
    os.close(end)
