"""Verbs ``hand-over``, ``in-use`` and ``pull``, with podman."""

import configparser
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.cli.conftest import Called
from tests.handover.conftest import ROOT
from tests.podman import Podman, podman

pytestmark = ROOT

NAME = "localhost/demo:latest"
UNIT = Path(__file__).parents[3] / "deployments/prestow-podman.service"


@pytest.fixture
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Podman]:
    """A host with podman, which its settings name."""
    monkeypatch.setenv("PRESTOW_HAND_OVER", "podman")
    with podman(tmp_path / "podman", home / "podman") as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found
        found.reboot(home)


def test_podman_runs_what_was_pulled_also_after_a_boot(
    here: Podman, called: Called, demo_layout: Path, home: Path
) -> None:
    pulled = called("pull", f"oci:{demo_layout}:demo", "--hand-over", "--json").document

    assert pulled["handed_over"]["form"] == "mounted"
    assert here.runs(NAME)
    shown = called("in-use", "demo", "--json").document
    assert (shown["runtime"], shown["namespace"], shown["images"][0]["in_use"]) == ("podman", "", True)
    assert "images are mounted" in called("doctor").out

    here.reboot(home)
    assert (called("in-use").status, here.runs(NAME)) == (1, False)
    assert called("hand-over", "--mount").out == "images that podman was given: 1; mounted now: 1\n"
    assert (called("in-use").status, here.runs(NAME)) == (0, True)


def test_the_line_that_is_missing_is_said_once_the_image_is_there(here: Podman, called: Called, demo: str) -> None:
    here.configure(additional=False)

    done = called("hand-over", "demo")

    assert (done.status, f'additionalimagestores = ["{here.store}"]' in done.err) == (125, True)
    assert "it does not read that directory: write additionalimagestores" in called("doctor").out
    here.configure(additional=True)
    assert called("hand-over", "demo").status == 0


def test_it_is_taken_back(here: Podman, called: Called, demo: str) -> None:
    called("hand-over", "demo")

    assert f"{NAME}: taken back from podman: " in called("hand-over", "--undo", "demo").out

    assert here.call("images", "--quiet") == ""
    assert called("in-use", "demo").status == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "which images?"),
        (("--undo",), "which images?"),
        (("--mount", "demo"), "leave out names"),
        (("--mount", "--undo", "demo"), "not allowed with"),
    ],
)
def test_words_that_do_not_fit_are_errors(called: Called, words: tuple[str, ...], why: str) -> None:
    done = called("hand-over", *words)
    assert (done.status, why in done.err) == (2, True)


def test_the_unit_mounts_before_services_start() -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names of settings have capitals

    unit.read(UNIT)

    assert unit["Service"]["ExecStart"].split()[1:] == ["hand-over", "--mount"]
    assert "basic.target" in unit["Unit"]["Before"].split()
    assert (unit["Unit"]["DefaultDependencies"], unit["Install"]["WantedBy"]) == ("no", "basic.target")
