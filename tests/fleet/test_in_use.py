"""Image sets whose images the hosts' container runtimes have to use: what is there and not used is missing."""

import pytest

from config.runtimes import RUNTIME_CHOICES
from prestow.errors import InvalidError
from prestow.fleet.document import parse
from prestow.fleet.file import FleetFile, HandOver
from prestow.fleet.plan import plan
from prestow.fleet.report import Report
from prestow.fleet.status import Cell, status
from tests.reports import NOW, hosts, image, image_set, layer, locked_set, report

APP, DB = image("r.io/app:1", layer(1)), image("r.io/db:2", layer(2))
BOTH = locked_set(APP, DB)
WANTED = {"hand_over": {"runtime": "auto"}}


PINNED = {"hand_over": {"runtime": "auto", "pin": True}}


def reported(used: tuple[bool | None, ...], pinned: tuple[bool, ...] = (False, False)) -> dict[str, Report]:
    """The report of a host that has both images, and which of them its runtime uses and pins."""
    found = report("gpu-000", BOTH.images)
    images = [
        each.model_copy(update={"in_use": said, "pinned": pin})
        for each, said, pin in zip(found.images, used, pinned, strict=True)
    ]
    return {"gpu-000": found.model_copy(update={"images": tuple(images)})}


@pytest.mark.parametrize(
    ("used", "wanted", "state"),
    [
        ((True, True), WANTED, "ready"),
        ((True, False), WANTED, "missing"),
        ((True, None), WANTED, "missing"),
        ((None, None), {}, "ready"),
        ((False, False), {}, "ready"),
    ],
)
def test_a_host_is_ready_when_its_runtime_uses_what_the_set_wants_used(
    used: tuple[bool | None, bool | None], wanted: dict[str, object], state: str
) -> None:
    of = image_set(BOTH, **wanted)

    (host,) = plan("nightly", of, BOTH, hosts(1), reported(used), NOW, None).hosts
    found = status("nightly", BOTH, hosts(1), reported(used), NOW, None, of.hand_over)

    assert (host.state, found.hosts[0].state) == (state, state)
    assert host.fetch_bytes == 0, "all of it is there"


def test_what_is_there_and_not_used_is_said_so_with_the_remedy() -> None:
    (host,) = status("nightly", BOTH, hosts(1), reported((True, False)), NOW, None, HandOver(runtime="auto")).hosts

    assert host.images == (Cell.PRESENT, Cell.UNUSED)
    assert host.cause == "its container runtime does not use r.io/db:2"
    assert host.remedy == "run `prestow fleet apply nightly`, and `prestow in-use` on the host"


@pytest.mark.parametrize(("pinned", "state"), [((True, True), "ready"), ((True, False), "missing")])
def test_a_set_that_wants_its_images_pinned_misses_the_pin_of_those_in_use(
    pinned: tuple[bool, bool], state: str
) -> None:
    of = image_set(BOTH, **PINNED)

    (planned,) = plan("nightly", of, BOTH, hosts(1), reported((True, True), pinned), NOW, None).hosts
    (found,) = status("nightly", BOTH, hosts(1), reported((True, True), pinned), NOW, None, of.hand_over).hosts

    assert (planned.state, found.state) == (state, state)
    assert found.images == (Cell.PRESENT, Cell.PRESENT if state == "ready" else Cell.UNPINNED)
    assert found.cause == ("" if state == "ready" else "its container runtime does not pin r.io/db:2")


def test_a_plan_is_stale_when_a_runtime_dropped_an_image() -> None:
    (before,), (after,) = reported((True, True)).values(), reported((True, False)).values()

    assert before.digest != after.digest


def test_the_file_takes_the_runtimes_that_a_host_may_set() -> None:
    text = "hosts: [{name: a}]\nsets: {nightly: {images: [r.io/app:1], hand_over: {runtime: %s, pin: true}}}\n"
    with pytest.raises(InvalidError, match="expected a runtime that pins the images, such as runtime: auto"):
        parse(text % "none", FleetFile, "fleet.yaml")
    for choice in set(RUNTIME_CHOICES) - {"none"}:
        assert parse(text % choice, FleetFile, "fleet.yaml").sets["nightly"].hand_over == HandOver(
            runtime=choice, pin=True
        )
    assert not HandOver().is_wanted
