"""A session fails that started a program which a fresh machine would not have; a plugin for pytest.

Each process of the session notes what it starts, as the interpreter's audit sees it. At the end each program must come
from a package of ``.ci/packages``, from one that these need, from the virtual environment, or from a base Debian; or a
test wrote it. Where there is no dpkg, nobody can say, and that is all that is reported. What programs start in turn is
not seen: `make fresh` runs all on a machine that has no more than that.
"""

import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.debian import needed, owners

ROOT = Path(__file__).parent.parent
_NOTES = pytest.StashKey[Path]()
_FOREIGN = pytest.StashKey[list[str]]()
_TESTS_SHOWN = 3
_TRIED = frozenset({Path("/usr/bin/file")})
"""What Python's own ``platform.architecture`` starts where it is, as Prefect does, and does without elsewhere."""

_EVENTS = frozenset({"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"})


def program(event: str, arguments: Sequence[Any]) -> Path | None:
    """Return the file of the program that an audit event starts; None if it starts none, or one that is not there."""
    if event == "os.system":
        return Path("/bin/sh")
    if event == "subprocess.Popen":
        name, _, cwd, environment = arguments
    elif event in ("os.exec", "os.posix_spawn"):
        (name, _, environment), cwd = arguments, None
    else:
        return None
    found = _found(os.fsdecode(name), Path(os.fsdecode(cwd or ".")), environment)
    return found if found is not None and found.is_file() else None


def _found(name: str, cwd: Path, environment: Mapping[Any, Any] | None) -> Path | None:
    if "/" in name:
        return (cwd / name).absolute()
    variables = {os.fsdecode(key): os.fsdecode(value) for key, value in (environment or os.environ).items()}
    found = shutil.which(name, path=variables.get("PATH", os.defpath))
    return None if found is None else Path(found).absolute()


def with_interpreters(file: Path) -> Iterator[Path]:
    """Yield a program, and what the kernel starts to interpret it, if it is a script."""
    yield file
    with suppress(OSError), file.open("rb") as opened:
        line = opened.readline(256)
        if line.startswith(b"#!") and line[2:].split():
            yield from with_interpreters(Path(os.fsdecode(line[2:].split()[0])))


def _watch(notes: Path) -> None:
    """Note from now on what this process and those that it forks start, once for each test."""
    noted = set()

    def hear(event: str, arguments: Sequence[Any], watched: frozenset[str] = _EVENTS) -> None:
        if event not in watched:  # a look at any frame's code is an event, too: hypothesis makes millions
            return
        started = program(event, arguments)
        if started is None:
            return
        test = os.environ.get("PYTEST_CURRENT_TEST", "what prepares the tests").rsplit(" (", 1)[0]
        if (started, test) in noted:
            return
        noted.add((started, test))
        with suppress(OSError), notes.open("a") as file:  # in a process without room or descriptors
            file.writelines(f"{each}\t{test}\n" for each in with_interpreters(started))

    sys.addaudithook(hear)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to note, in the workers to the file of the session."""
    if hasattr(config, "workerinput"):
        _watch(Path(config.workerinput["started"]))
        return
    descriptor, name = tempfile.mkstemp(prefix="prestow-started-")
    os.close(descriptor)
    config.stash[_NOTES] = Path(name)
    _watch(Path(name))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist where to note."""
    node.workerinput["started"] = str(node.config.stash[_NOTES])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if what was started comes from nowhere that a fresh machine has."""
    notes = session.config.stash.get(_NOTES, None)
    if notes is None:
        return
    tests = defaultdict(set)
    for line in notes.read_text().splitlines():
        started, _, test = line.partition("\t")
        tests[Path(started)].add(test)
    notes.unlink()
    session.config.stash[_FOREIGN] = lines = [
        f"{file} ({origin}): {', '.join(sorted(tests[file])[:_TESTS_SHOWN])}"
        for file, origin in sorted(foreign(list(tests), _scratch(session.config)).items())
    ]
    if lines and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell which, and which tests started them."""
    if shutil.which("dpkg-query") is None:
        terminalreporter.write_line("without dpkg nobody can say which packages the started programs come from")
    if lines := config.stash.get(_FOREIGN, []):
        terminalreporter.section("started programs that a fresh machine has not", red=True)
        for line in lines:
            terminalreporter.write_line(line)
        terminalreporter.write_line("Name their packages in .ci/packages, or do without them.")


def _scratch(config: pytest.Config) -> list[Path]:
    """Return the folders in which tests write programs of their own, and one that a person named for them."""
    given = [config.getoption("basetemp", default=None), os.environ.get("PRESTOW_TEST_CONTAINERD")]
    return [Path(tempfile.gettempdir()), *(Path(folder).absolute() for folder in given if folder)]


def foreign(programs: Sequence[Path], scratch: Sequence[Path]) -> dict[Path, str]:
    """Return those programs that a fresh machine would not have, with the package that each is from."""
    ours = (*scratch, Path(sys.prefix), Path(sys.base_prefix), ROOT)
    asked = [file for file in programs if file not in _TRIED and not _below(file, ours)]
    if not asked or shutil.which("dpkg-query") is None:
        return {}
    names = (ROOT / ".ci/packages").read_text().splitlines()
    has = needed([name for name in names if not name.startswith("#")])
    found = owners(asked)
    return {file: found.get(file, "of no package") for file in asked if found.get(file) not in has}


def _below(file: Path, folders: Sequence[Path]) -> bool:
    memory = file.is_relative_to("/dev/shm") and file.parts[3].startswith("prestow-")  # of tests.tmpfs
    return memory or any(file.is_relative_to(folder) for folder in folders)
