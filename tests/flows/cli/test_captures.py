"""What is on the screen: captures of real terminals, 100, 60 and 40 columns wide, compared with ``captures.txt``.

A change of any table or line of progress is seen in the diff of that file. To record it again, remove it and run this
test, which then writes it and fails once. Digits that differ from run to run are 0 there.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from difflib import unified_diff
from pathlib import Path
from typing import TypeAlias

import pytest
from prefect import get_client

from flows.cli.checks import Finding, all_settings
from flows.cli.doctor import laid_out
from flows.cli.interruption import SENTENCE
from prestow.digest import Digest
from prestow.store.node import open_node
from tests.conformance.snapshotter_damage import flip
from tests.flows.cli.conftest import Called, Prestow
from tests.flows.cli.test_fleet_plan import APP, DB, Fleet
from tests.flows.cli.test_recorded import write_layout
from tests.registries import Fault, FaultRegistry
from tests.reports import GIB
from tests.screen import screen
from tests.terminals import Terminal, on_a_terminal

pytestmark = pytest.mark.usefixtures("prefect_server")

CAPTURES = Path(__file__).with_name("captures.txt")
WIDTHS = (100, 60, 40)
TABLES = (
    "images", "images --all-namespaces", "containers", "snapshots", "images inspect demo", "explain demo",
    "pull oci:TMP/layout:demo --name demo --platform linux/amd64",
)  # fmt: skip
Show: TypeAlias = Callable[..., None]
TOTAL = r" 2/3 [^\n]*0 B/s for [1-9][0-9] s"
LAYER = r"[^\n]*0 B/s for [1-9][0-9] s"


class Captures:
    """Screens by the name of what is on them, compared with those that are recorded."""

    def __init__(self) -> None:
        """Read the recorded ones."""
        text = CAPTURES.read_text("utf-8") if CAPTURES.exists() else ""
        self._recorded = dict(re.findall(r"^=== ([^\n]*)\n(.*?)\n(?==== |\Z)", text, re.DOTALL | re.MULTILINE))
        self._found: dict[str, str] = {}

    def add(self, name: str, lines: list[str]) -> None:
        """Take a screen."""
        self._found[name] = "\n".join(lines).rstrip("\n") + "\n"

    def compare(self) -> None:
        """Fail with what differs; what is not recorded is recorded."""
        if missing := self._found.keys() - self._recorded.keys():
            with CAPTURES.open("a", encoding="utf-8") as file:
                file.writelines(f"=== {name}\n{text}\n" for name, text in self._found.items() if name in missing)
            pytest.fail(f"{CAPTURES} has new screens; look at its diff: {sorted(missing)}")
        changes = [
            line
            for name, text in self._found.items()
            for line in unified_diff(self._recorded[name].splitlines(), text.splitlines(), name, "found", lineterm="")
        ]
        assert not changes, "\n".join(changes)


@pytest.fixture
def captures() -> Iterator[Captures]:
    """The captures of one test, compared at its end."""
    found = Captures()
    yield found
    found.compare()


@contextmanager
def answers_on(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let standard output of this process be a terminal."""
    with monkeypatch.context() as patch, os.fdopen(terminal.theirs, "w", encoding="utf-8") as stream:
        patch.delenv("COLUMNS", raising=False)
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "__stdout__", stream)
        yield


def masked(lines: list[str], tmp_path: Path) -> list[str]:
    """Return lines without times, and without what differs from machine to machine."""
    text = "\n".join(lines).replace(str(tmp_path), "TMP")
    text = re.sub(r"\b20\d\d-\d\d-\d\d \d\d:\d\d", "2000-00-00 00:00", text)
    text = re.sub(r"\d+\.\d\d s\b", "0.00 s", text)
    return text.split("\n")


@pytest.fixture
def show(called: Called, tmp_path: Path, captures: Captures, monkeypatch: pytest.MonkeyPatch) -> Show:
    """Capture what a command prints on terminals of all widths, with each first of ``names`` called as the second."""

    def show_line(line: str, *names: tuple[str, str], status: int = 0, title: str = "") -> None:
        for width in WIDTHS:
            terminal = Terminal(width)
            with answers_on(terminal, monkeypatch):
                assert called(*line.replace("TMP", str(tmp_path)).split()).status == status
            captures.add(f"{title or line} ({width} columns)", masked(shown_on(terminal, *names), tmp_path))

    return show_line


def shown_on(terminal: Terminal, *names: tuple[str, str]) -> list[str]:
    """Return the lines on a terminal that no process writes to any more; it has broken none of them."""
    while terminal.read():
        pass
    for ours, shown in names:
        assert len(ours) == len(shown)
        terminal.written = terminal.written.replace(ours.encode(), shown.encode())
    lines = screen(terminal.text, terminal.width)
    assert terminal.text.count("\n") == len(lines) - 1, f"a line was broken by the terminal: {lines}"
    return lines


def test_tables_fit_the_terminal(called: Called, tmp_path: Path, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_DRIVER", "native")
    monkeypatch.setenv("TZ", "UTC")
    write_layout(tmp_path / "layout")

    for line in (
        f"pull oci:{tmp_path / 'layout'}:demo --name demo --platform linux/amd64",
        "images tag demo registry.example:5000/team/with-a-long-name/demo:1",
        "images label demo prestow.source-",
        f"bundle demo {tmp_path / 'box'} --id box",
    ):
        done = called(*line.split())
        assert done.status == 0, done.err
    for line in TABLES:
        show(line)
    assert called("containers", "rm", "box").status == 0


def test_what_is_corrupt_and_what_goes_fits_the_terminal(
    called: Called, home: Path, tmp_path: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_DRIVER", "native")
    write_layout(tmp_path / "layout")
    pull = f"pull oci:{tmp_path / 'layout'}:demo --platform linux/amd64 --json"
    layer = called(*pull.split(), "--name", "demo").document["layers"][0]

    show("fsck demo")
    flip(open_node(str(home)).content.path(Digest(layer["diff_id"])))
    show("fsck demo", status=5, title="fsck of a corrupt image")
    assert called("images", "rm", "demo").status == 0
    show("prune --dry-run")


def test_tables_of_a_fleet_fit_the_terminal(
    called: Called, tmp_path: Path, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_FLEET", str(tmp_path / "fleet.yaml"))
    with get_client(sync_client=True) as client:
        fleet = Fleet(client, tmp_path, 4)
        then = {"at": datetime.now(UTC) - timedelta(hours=3, minutes=30), "interval": 86400.0}
        fleet.report(0, APP, DB, **then)
        fleet.report(1, APP, rate=GIB / 60, **then)
        fleet.report(2, APP, free_bytes=GIB, **then)
        names = [(fleet.name, "nightly-gpu"), (fleet.hosts[0].name[:9], "gpu-paris")]

        show("fleet plan", *names, status=21)
        show("fleet status", *names, status=22)
        show(f"fleet status --host {fleet.hosts[1].name}", *names, status=22, title="fleet status --host HOST")


def test_the_checks_of_a_host_fit_the_terminal(captures: Captures, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [
        Finding("store", works=True, found="/var/lib/prestow: 2 images, 1 container", needed=True),
        Finding("snapshotter erofs", works=True, found="works, and is the default"),
        Finding(
            "hand-over", works=False, found="containerd: there is no socket /run/containerd/containerd.sock",
            advice="start containerd, or set containerd_address",
        ),
    ]  # fmt: skip
    settings = [each for each in all_settings() if each["name"] in ("driver", "hosts_dirs", "keep_blobs")]
    for width in WIDTHS:
        terminal = Terminal(width)
        with answers_on(terminal, monkeypatch):
            sys.stdout.write(f"{laid_out(findings, settings, width)}\n")
        captures.add(f"doctor ({width} columns)", shown_on(terminal))


def test_wide_shows_all_on_any_terminal(called: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_layout(tmp_path / "layout")
    assert called("pull", f"oci:{tmp_path / 'layout'}:demo", "--platform", "linux/amd64").status == 0
    terminal = Terminal(40)

    with answers_on(terminal, monkeypatch):
        called("images", "--wide")
    while terminal.read():
        pass

    assert terminal.text.replace("\r\n", "\n") == called("images").out
    assert called("images", "--json").document[0]["digest"] in terminal.text


def test_a_transfer_that_stands_still_shows_since_when_and_ctrl_c_leaves_no_bar_behind(
    prestow: Prestow, called: Called, tmp_path: Path, captures: Captures
) -> None:
    write_layout(tmp_path / "layout")
    with FaultRegistry(tmp_path / "layout") as registry:
        reference = f"{registry.own}/demo:demo"
        first = called("pull", reference, "--stop-after", "manifest-stored", "--json").document["layers"][0]["digest"]
        registry.on(f"/blobs/{first}", Fault(stall_after=300))

        with on_a_terminal(prestow, "pull", reference, NO_COLOR="1") as (terminal, process):
            for width in WIDTHS:
                terminal.resize(width)
                terminal.forget()
                terminal.wait_for(rf"{LAYER}(?s:.*){LAYER}")  # the first may have been drawn for the width before
                terminal.forget()
                drawn = terminal.wait_for(rf"(?s:.*){TOTAL}\s+{LAYER}(?s:.*){TOTAL}\s+{LAYER}")
                shown = screen(terminal.text[: drawn.end()], width)
                captures.add(
                    f"pull of a stalled layer ({width} columns)",
                    [re.sub(r"for \d\d s", "for 00 s", line) for line in shown],
                )
            os.write(terminal.ours, b"\x03")  # the terminal shows it as ^C, at the end of the last bar
            terminal.wait_for(r"\^C")
            process.send_signal(signal.SIGINT)

    assert process.returncode == 130
    assert "".join(screen(terminal.text, WIDTHS[-1])) == f"prestow: {SENTENCE}"


def test_without_a_terminal_there_are_lines_or_nothing(called: Called, tmp_path: Path, captures: Captures) -> None:
    write_layout(tmp_path / "layout")
    pull = ("pull", f"oci:{tmp_path / 'layout'}:demo", "--platform", "linux/amd64", "--name")

    lines = called(*pull, "demo")
    quiet = called(*pull, "again", "--quiet")
    script = called(*pull, "again", "--json")
    none = called(*pull, "again", "--progress", "none")

    captures.add("pull (not a terminal)", sorted(masked(lines.err.splitlines(), tmp_path)))
    captures.add("pull (not a terminal, the answer)", masked(lines.out.splitlines(), tmp_path))
    captures.add("pull --quiet", quiet.out.splitlines())
    assert [each.err for each in (quiet, script, none)] == [""] * 3
    assert none.out.splitlines()[1].split() == ["LAYER", "SIZE", "STATE", "FETCHED"]
