"""The page of a set: all that matters of a fleet of any size, and nothing that a host can do to it."""

import re
from base64 import b64decode
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flows.forms.fleet_map import COLOURS, fleet_map
from flows.forms.fleet_page import Progress, fleet_page
from flows.forms.markdown import cell
from prestow.fleet.lock import LockedImage
from prestow.fleet.status import Hold, Status, status
from prestow.fleet.verdict import HostVerdict, Verdict
from prestow.fleet.waves import Wave
from tests.reports import NOW, hosts, image, layer, locked_set, report

APP, DB = image("r.io/app:1", layer(1)), image("r.io/db:2", layer(2))
BOTH = locked_set(APP, DB)
EVIL = "`|x|`</td><script>alert(1)</script>\\| ![i](http://h/x) [l](javascript:x) **b**\n# h\n```"


def made(count: int, ready: int, *images: LockedImage, **more: Any) -> Status:
    locked = locked_set(*(images or BOTH.images))
    fleet = hosts(count)
    full = {host.name: report(host.name, locked.images) for host in fleet[:ready]}
    rest = {host.name: report(host.name, **more) for host in fleet[ready:]}
    return status("nightly", locked, fleet, {**full, **rest}, NOW)


def rows(markdown: str) -> list[list[str]]:
    """Render the tables as the UI would, and give their rows as text."""
    found: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "tr_open":
            found.append([])
        elif token.type == "inline" and token.level >= 4:
            found[-1].append("".join(child.content for child in token.children or []))
    return found


def check(markdown: str) -> None:
    """Check that a page has no markup but ours, even where bars of tables are read in another way."""
    for text in (markdown, markdown.replace(r"\\|", " |")):
        for token in MarkdownIt("commonmark").enable("table").parse(text):
            assert token.type not in {"html_block", "html_inline"}
            for child in token.children or []:
                assert child.type in {"text", "code_inline", "strong_open", "strong_close", "image", "softbreak"}
                assert child.type != "image" or str(child.attrs["src"]).startswith("data:image/svg+xml;base64,")


def test_the_page_begins_with_the_set_its_generation_and_a_bar() -> None:
    page = fleet_page(made(8, 6))

    assert page.startswith("# nightly · generation 12: 6 of 8 hosts ready\n\n`█")
    assert "75 %" in page
    assert page.count("█") == 30


def test_each_wave_has_its_figures() -> None:
    found = made(4, 2)
    verdicts = [
        HostVerdict("gpu-000", Verdict.DONE, "", 1, 5.0), HostVerdict("gpu-001", Verdict.DONE, "", 1, 5.0),
        HostVerdict("gpu-002", Verdict.REFUSED, "disk", 1, 5.0), HostVerdict("gpu-003", Verdict.SLOW, "slow", 1, None),
    ]  # fmt: skip
    both = (Wave(1, 2, ("gpu-000",)), Wave(2, 2, ("gpu-001", "gpu-002", "gpu-003")))

    page = fleet_page(found, Progress(both, verdicts, {"gpu-000": 3 << 30, "gpu-001": 1 << 20}, {1: 130.0}))

    assert ["1 of 2", "1", "1", "0", "0", "3.0 GiB", "2 min 10 s"] in rows(page)
    assert ["2 of 2", "3", "1", "1", "1", "1.0 MiB", "-"] in rows(page)


def test_hosts_that_lack_something_are_listed_with_cause_and_remedy() -> None:
    verdicts = [HostVerdict("gpu-001", Verdict.REFUSED, "refused: r.io/db:2 does not fit", 1, 1.0)]
    found = made(3, 1)

    page = fleet_page(found, Progress((Wave(1, 1, ("gpu-001",)),), verdicts))

    refused, missing = [line for line in page.splitlines() if line.startswith("- ")]
    assert refused == (
        "- `gpu-001`: `refused: r.io/db:2 does not fit`; run `prestow prune` on it, or exclude it from the set"
    )
    assert missing == "- `gpu-002`: `lacks r.io/app:1, r.io/db:2`; run `prestow fleet apply nightly`"


def test_hosts_with_the_same_cause_are_one_line() -> None:
    page = fleet_page(made(30, 5))

    [line] = [line for line in page.splitlines() if line.startswith("- ")]
    assert line.startswith("- `gpu-005`, `gpu-006`, ")
    assert "`gpu-024` and 5 more (25 hosts): `lacks" in line


@pytest.mark.parametrize("verdict", [each for each in Verdict if each != Verdict.DONE])
def test_each_verdict_has_a_remedy(verdict: Verdict) -> None:
    page = fleet_page(made(1, 0), Progress((), [HostVerdict("gpu-000", verdict, "why", 1, None)]))

    [line] = [line for line in page.splitlines() if line.startswith("- ")]
    assert line.startswith(f"- `gpu-000`: `{verdict}: why`; ")
    assert len(line.partition("; ")[2]) > 10


def test_hosts_whose_turn_comes_are_counted_only() -> None:
    page = fleet_page(made(3, 0), Progress((Wave(1, 1, tuple(host.name for host in hosts(3))),)))

    assert "3 hosts more: their wave runs, or comes." in page
    assert "Hosts that lack something" not in page


def test_a_host_that_reports_all_images_is_ready_whatever_came_of_its_run() -> None:
    page = fleet_page(made(1, 1), Progress((), [HostVerdict("gpu-000", Verdict.SLOW, "late", 1, None)]))

    assert "Hosts that lack something" not in page


def test_an_image_is_shown_with_its_digest_and_where_it_is() -> None:
    assert ["1", "r.io/app:1", APP.digest[:19], "3", "2", "1", "0"] in rows(fleet_page(made(3, 2)))


def test_up_to_fifty_hosts_there_is_a_matrix() -> None:
    old = made(50, 49, at=NOW - timedelta(days=1))

    page = fleet_page(old)

    assert "\ngpu-000 # #\n" in page
    assert "\ngpu-049 ? ?\n" in page
    assert "data:image" not in page


def test_above_fifty_hosts_there_is_a_map_and_the_page_hardly_grows() -> None:
    verdicts = [HostVerdict(host.name, Verdict.FAILED, f"cause {at}", 1, 1.0) for at, host in enumerate(hosts(1000))]
    small, large = (fleet_page(made(count, 0), Progress((), verdicts)) for count in (200, 2000))

    assert "… and 1970 hosts more: `prestow fleet status nightly` lists them." in large
    assert len(large.splitlines()) == len(small.splitlines()) < 60
    assert len(large) < 100_000
    assert "gpu-000 #" not in large


def test_the_map_has_a_square_of_its_colour_for_each_host() -> None:
    states = [(f"gpu-{n}", [*COLOURS][n % len(COLOURS)]) for n in range(503)]

    [[alternative, data]] = re.findall(r"^!\[(.*)\]\(data:image/svg\+xml;base64,(.*)\)$", fleet_map(states))

    paths = re.findall(r'<path fill="([^"]*)" d="([^"]*)"/>', b64decode(data).decode())
    drawn = {colour: sum(path.count("z") for each, path in paths if each == colour) for colour in COLOURS.values()}
    counts = [sum(state == each for _, state in states) for each in COLOURS]
    assert [count - 1 for count in drawn.values()] == counts  # one is in the legend
    assert alternative == ", ".join(f"{count} {state}" for count, state in zip(counts, COLOURS, strict=True))


def test_a_rollback_that_holds_is_shown_with_its_end() -> None:
    hold = Hold(generation=11, since=NOW, reason=EVIL)

    page = fleet_page(status("nightly", BOTH, hosts(1), {}, NOW, hold))

    assert "**A rollback to generation 11 holds** since 2026-11-29 03:00 UTC" in page
    assert "`prestow fleet release nightly` ends it" in page
    check(page)


def test_hostile_text_of_hosts_and_runs_is_text() -> None:
    failed = made(60, 0, failures=[{"image": APP.name, "error": EVIL * 3, "at": NOW}])
    verdicts = [HostVerdict(host.name, Verdict.FAILED, EVIL, 1, None) for host in hosts(20)]

    check(fleet_page(failed, Progress((), verdicts)))


@settings(max_examples=200)
@given(st.text("`|\\ax<>*_[]()!#-~ \n", min_size=1, max_size=30))
def test_a_cell_stays_one_cell_whichever_way_bars_are_read(evil: str) -> None:
    line = f"| {cell(evil)} | b |"

    assert "|" not in cell(evil)
    assert [len(row) for row in rows(f"| a | b |\n|---|---|\n{line}\n")] == [2, 2]
    check(f"| a | b |\n|---|---|\n{line}\n")
