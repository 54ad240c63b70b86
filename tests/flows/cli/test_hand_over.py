"""Verbs ``hand-over`` and ``in-use``, and ``pull --hand-over``, with Debian's containerd."""

import sys
from pathlib import Path

import pytest

from prestow.store.node import open_node
from tests.containerd import Containerd
from tests.flows.cli.conftest import Called, Prestow
from tests.handover.conftest import ROOT
from tests.registries import FaultRegistry

pytestmark = ROOT

NAME = "localhost/demo:latest"


def test_what_is_pulled_is_handed_over(runtime: Containerd, called: Called, demo_layout: Path) -> None:
    pulled = called("pull", f"oci:{demo_layout}:demo", "--hand-over", "--json")

    assert pulled.document["checkpoint"] == "handed-over"
    handed_over = pulled.document["handed_over"]
    assert (handed_over["namespace"], handed_over["snapshotter"], handed_over["form"]) == (
        "k8s.io", "overlayfs", "applied",
    )  # fmt: skip
    assert called("in-use", "demo").status == 0
    assert runtime.runs("overlayfs", NAME)


def test_the_setting_hands_over_too_and_a_word_keeps_it_from_that(
    runtime: Containerd, called: Called, demo_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_HAND_OVER", "auto")
    assert called("pull", f"oci:{demo_layout}:demo", "--no-hand-over", "--json").document["handed_over"] is None

    assert called("prepull", f"oci:{demo_layout}:demo").status == 0

    assert called("in-use", "demo").status == 0


def test_an_image_that_is_not_unpacked_is_unpacked_by_the_runtime(
    runtime: Containerd, called: Called, demo_layout: Path, home: Path
) -> None:
    assert called("pull", f"oci:{demo_layout}:demo", "--no-unpack", "--hand-over").status == 0

    assert runtime.runs("overlayfs", NAME)
    assert open_node(home).snapshots() == []


def test_one_that_is_here_is_handed_over_and_taken_back(runtime: Containerd, called: Called, demo_layout: Path) -> None:
    called("pull", f"oci:{demo_layout}:demo")
    before = called("in-use", "demo")
    assert (before.status, "demo:latest" in before.out, " no " in before.out) == (1, True, True)
    assert called("in-use").status == 0, "nothing was handed over, so nothing is missing"

    given = called("hand-over", "demo")
    assert (given.status, "in use by containerd 1.6" in given.out) == (0, True)
    shown = called("in-use", "--json").document
    assert (shown["runtime"], shown["images"][0]["in_use"], shown["images"][0]["last_container"]) == (
        "containerd", True, None,
    )  # fmt: skip

    taken = called("hand-over", "--undo", "demo")
    assert (taken.status, "taken back from containerd" in taken.out) == (0, True)
    assert called("in-use", "demo").status == 1


def test_the_last_container_is_told(runtime: Containerd, called: Called, demo_layout: Path) -> None:
    called("pull", f"oci:{demo_layout}:demo", "--hand-over")
    runtime.ctr("container", "create", NAME, "box")

    (image,) = called("in-use", "--json").document["images"]

    assert image["last_container"] > 0
    assert " ago" in called("in-use").out


def test_an_image_that_is_missing_again_is_told_with_the_reason(
    runtime: Containerd, called: Called, demo_layout: Path
) -> None:
    called("pull", f"oci:{demo_layout}:demo", "--hand-over")
    runtime.ctr("images", "rm", NAME)

    found = called("in-use")

    assert found.status == 1
    assert f"{NAME}: {NAME} is not known there" in found.out


def test_a_host_without_a_runtime_says_what_to_do(
    called: Called, demo_layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = tmp_path / "none.sock"
    monkeypatch.setenv("PRESTOW_CONTAINERD_ADDRESS", str(address))
    called("pull", f"oci:{demo_layout}:demo")

    for done in (called("in-use"), called("hand-over", "demo")):
        assert done.status == 9
        assert f"there is no socket {address}; start containerd, or set containerd_address" in done.err


def test_unknown_images_and_contradictions_are_refused(runtime: Containerd, called: Called) -> None:
    assert called("hand-over", "demo").status == 3
    assert called("in-use", "demo").status == 3
    assert called("hand-over", "--undo", "demo").status == 3
    assert called("hand-over", "--undo", "--pin", "demo").status == 2


def test_reading_needs_no_prefect(runtime: Containerd, alone: Prestow) -> None:
    done = alone("in-use", "--json", env={"PRESTOW_CONTAINERD_ADDRESS": str(runtime.address)})

    assert (done.status, done.document["images"]) == (0, [])


def test_nothing_is_fetched_where_the_client_is_not_installed(
    called: Called, fault_registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith(("grpc", "prestow.handover.containerd"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "grpc", None)

    done = called("pull", f"{fault_registry.domain}/a:demo", "--hand-over")

    assert (done.status, "install prestow[containerd]" in done.err) == (9, True)
    assert fault_registry.requests() == []


def test_what_was_fetched_stays_although_the_runtime_is_away(
    called: Called, demo_layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_CONTAINERD_ADDRESS", str(tmp_path / "none.sock"))

    assert called("pull", f"oci:{demo_layout}:demo", "--hand-over").status == 9

    assert [image["name"] for image in called("images", "--json").document] == [NAME]


def test_a_pin_needs_a_hand_over(called: Called, fault_registry: FaultRegistry) -> None:
    done = called("pull", f"{fault_registry.domain}/a:demo", "--pin")

    assert (done.status, "add --hand-over, or set hand_over" in done.err) == (2, True)
    assert fault_registry.requests() == []


def test_the_run_may_stop_at_the_checkpoint_where_there_is_a_hand_over(
    runtime: Containerd, called: Called, demo_layout: Path
) -> None:
    stop = ("pull", f"oci:{demo_layout}:demo", "--stop-after", "handed-over", "--json")

    refused, stopped = called(*stop), called(*stop, "--hand-over")

    assert (refused.status, "does not reach 'handed-over'" in refused.err) == (2, True)
    assert stopped.document["checkpoint"] == "handed-over"
